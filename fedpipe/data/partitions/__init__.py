"""Partitions, one file each. `fedpipe.data.partition` chooses among them."""
