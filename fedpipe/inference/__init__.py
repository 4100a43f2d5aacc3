"""Predictions of recorded models, and their export to other forms."""
