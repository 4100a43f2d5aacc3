"""The faults of `benchmarks.faults`, a file for each kind; each case is a function of a clone that returns what happened."""
