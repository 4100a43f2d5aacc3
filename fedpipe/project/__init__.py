"""The user's project: its paths, DVC, and how a new one is created."""
