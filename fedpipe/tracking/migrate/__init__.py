"""Copies a whole MLflow store to another database and another place of artifacts."""
