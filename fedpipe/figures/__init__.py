"""Drawings of a run, a population and a sweep."""
