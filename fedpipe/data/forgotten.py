"""The list of clients that asked to be forgotten: `forgotten.json` in the project, in git, a
dependency of the stage `prepare`.

So the list survives the shards, and every new version of them leaves these clients out.
"""

import json
from collections.abc import Collection
from pathlib import Path

from fedpipe.config.yaml_file import read_text
from fedpipe.errors import DataError

FORGOTTEN_NAME = "forgotten.json"


def read_forgotten(project: Path) -> frozenset[str]:
    """Return the ids in the project's list; none where there is no list.

    Raises:
        ConfigError: the file cannot be read, or a merge in it is not resolved.
        DataError: it is no list of ids.
    """
    path = project / FORGOTTEN_NAME
    try:
        ids = json.loads(read_text(path))
    except FileNotFoundError:
        return frozenset()
    except json.JSONDecodeError as err:
        raise DataError(
            f"{path}:{err.lineno}:{err.colno}: not a JSON list of client ids: {err.msg}. Fix the "
            "file."
        ) from err
    except RecursionError as err:
        raise DataError(
            f"{path}: not a JSON list of client ids: nested too deeply. Fix the file."
        ) from err
    if not isinstance(ids, list) or not all(
        isinstance(client_id, str) and client_id for client_id in ids
    ):
        raise DataError(
            f'{path}: expected a JSON list of client ids, such as ["c1", "c2"], found something '
            "else. Fix the file."
        )
    return frozenset(ids)


def forgotten_json(client_ids: Collection[str]) -> str:
    """Return the list as text: sorted, one id a line, so that git shows who was added."""
    return json.dumps(sorted(client_ids), indent=0, ensure_ascii=True) + "\n"
