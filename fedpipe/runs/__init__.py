"""One run on this machine: its folder, state, shards, provenance, rounds and files."""
