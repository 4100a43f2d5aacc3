"""What is recorded of a run. The only importer of MLflow."""
