"""TFF workers on this machine: their processes, and the execution context that calls them."""
