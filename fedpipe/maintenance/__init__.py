"""Checks of this machine, the project and its data, and removal of files nobody needs."""
