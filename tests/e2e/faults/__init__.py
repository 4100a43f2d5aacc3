"""Faults of `tests/e2e/test_faults.py`, one file per kind; each case is a function of a clone that returns what happened."""
