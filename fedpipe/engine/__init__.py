"""Computes rounds: the round loop, checkpoints, and the runtime that owns a run's TFF workers."""
