"""The TFF runtime: worker processes, the execution context and the one round loop."""
