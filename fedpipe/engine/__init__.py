"""Computes rounds: the one round loop, checkpoints, and the runtime that owns a run's TFF workers."""
