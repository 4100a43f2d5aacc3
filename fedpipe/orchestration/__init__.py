"""What fedpipe asks of Prefect: its server, database, work pool, forms, logs, cancelling."""
