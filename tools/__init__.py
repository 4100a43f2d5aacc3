"""Checks of the code that CI runs. Not part of the wheel."""
