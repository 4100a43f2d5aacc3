"""What the flow and DVC run: prepare, sample, train, evaluate, record, as plain functions."""
