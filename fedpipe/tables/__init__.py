"""Tables and texts that runs write, and that DVC's plots, MLflow and the report read."""
