"""The laws by which a pool of examples becomes clients, one file each. `fedpipe.data.partition`
chooses among them.
"""
