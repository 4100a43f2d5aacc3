"""One run on this machine: its folder, state, shards, lineage, rounds and files."""
