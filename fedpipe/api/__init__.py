"""Training, resuming and listing runs: what the command line and `import fedpipe` both call."""
