"""Starts flows in this process: training, sweep, served deployment, and the check of Prefect."""
