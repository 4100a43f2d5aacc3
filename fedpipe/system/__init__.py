"""Files, locks, processes, git, host and user code: knows nothing of federated learning."""
