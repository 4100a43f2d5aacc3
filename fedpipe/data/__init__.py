"""Sources, partitions, shards, the population of clients and cohort plans. No TensorFlow at import,
no MLflow, no Prefect.
"""
