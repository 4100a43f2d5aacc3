"""The report: one HTML page of one run, or of several side by side."""
