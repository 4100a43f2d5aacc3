"""`fedpipe cache`: the resident client files, derived from the shards; what they take and how to be
rid of them.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from fedpipe.cli.options import Json


def cache(
    clear: Annotated[
        bool, typer.Option("--clear", help="Remove all files; runs create them again when needed.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show or clear the cache of client data that the TFF worker reads."""
    from fedpipe.data import resident
    from fedpipe.project.paths import find_project

    root = find_project(Path.cwd()).client_cache
    files = resident.clear(root) if clear else resident.usage(root)
    if as_json:
        print(
            json.dumps(
                {
                    "path": str(root),
                    "files": files.files,
                    "size_bytes": files.size_bytes,
                    "cleared": clear,
                }
            )
        )
    else:
        line = f"{root}: {files.files} files, {files.size_bytes / 2**20:.1f} MiB"
        typer.echo(f"{line} removed" if clear else line)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(cache)
