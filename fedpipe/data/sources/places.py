"""Resolves `data.path`, and words errors of users' files: file, row, reason."""

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fedpipe.config import DataConfig
from fedpipe.errors import DataError
from fedpipe.redact import hide

BATCH_ROWS = 4096
"""Rows that the readers of files take at once."""


@dataclass(frozen=True)
class BatchPlace:
    """Where a batch of rows comes from.

    Attributes:
        source: file or source, as errors name it.
        first_row: number of the batch's first row, as the user counts rows.
        counted_from: number of the source's very first row.
        row_name: returns the name of a row from its number; None names the number and
            `counted_from`.

    >>> BatchPlace("a.npz", 7).row(1), BatchPlace("a.csv", 7, counted_from=1).row()
    ('row 8 (the first row is 0)', 'row 7 (the first row is 1)')
    """

    source: Path | str
    first_row: int = 0
    counted_from: int = 0
    row_name: Callable[[int], str] | None = None

    def row(self, number: int = 0) -> str:
        """Return how an error names the row that has this place in the batch, from 0."""
        row = self.first_row + number
        if self.row_name is not None:
            return self.row_name(row)
        return f"row {row} (the first row is {self.counted_from})"


def own_path(config: DataConfig, project: Path) -> Path:
    """Return `data.path`, relative to the project. Raises DataError if it is not set or nothing is
    there.
    """
    if config.path is None:
        raise DataError(
            f"data.source={config.source}: expected data.path, found null. Set it to your file or "
            "folder."
        )
    path = project / Path(config.path).expanduser()
    if not path.exists():
        raise DataError(
            f"data.path={config.path}: expected a file or folder at {path}, found nothing. "
            f"{_path_hint(config.path, path)}"
        )
    return path


def _path_hint(written: str, path: Path) -> str:
    """Return what to do about a path at which nothing is."""
    if re.match(r"[A-Za-z]:[\\/]", written) or "\\" in written:
        return (
            "It is written as on Windows: write it with / as it is on this machine (under WSL, "
            "C:\\ is /mnt/c/)."
        )
    folder = path
    while not folder.exists():
        missing = folder
        folder = folder.parent
    if not folder.is_dir():
        return f"{folder} is a file. Correct the path."
    entries = [entry.name for entry in folder.iterdir()][:10_000]
    close = difflib.get_close_matches(missing.name, entries, n=1, cutoff=0.8)
    if close:
        return f"Did you mean {folder / close[0]}?"
    return (
        f"{folder} has no {missing.name}. Correct the path; a relative one starts at the folder "
        "of params.yaml."
    )


def unreadable(path: Path, expected: str, err: Exception) -> DataError:
    """Return the error that `path` is not what was expected, for an exception of the library that
    read it.
    """
    reason = hide(" ".join(str(err).split()))[:300].rstrip(".") or type(err).__name__
    return DataError(
        f"{path}: expected {expected}, found one that is damaged, cut short or of another kind "
        f"({reason}). Replace the file."
    )
