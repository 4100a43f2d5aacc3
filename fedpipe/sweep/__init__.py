"""Sweeps: trials in processes beside each other, their search and their results."""
