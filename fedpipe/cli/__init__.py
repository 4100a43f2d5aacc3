"""The command line: `fedpipe ...`. Imports nothing heavy until a command needs it."""

from fedpipe.cli.main import main

__all__ = ["main"]
