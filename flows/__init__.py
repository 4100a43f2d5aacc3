"""Prefect flows: the order of the steps, retries, and what Prefect's pages show. The only place
that imports Prefect.
"""
