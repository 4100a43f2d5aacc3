"""Questions asked after a run: where it comes from, who took part, whether it repeats."""
