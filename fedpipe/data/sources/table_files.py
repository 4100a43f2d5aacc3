"""Finds the files of a table: one file, or a folder of parts as Spark, Hive, Dask and pandas write
them; and tells what a file is by its first bytes.
"""

import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from fedpipe.errors import DataError, shorten

TableKind = Literal["csv", "parquet"]

TEXT_SUFFIXES = (".csv", ".tsv", ".tab", ".txt", ".dat", ".psv")
COMPRESSIONS = (".gz", ".bz2", ".xz")
_PACKED = (*COMPRESSIONS, ".zst", ".lz4", ".snappy", ".zip")
_PARTITION = re.compile(r"([^=]+)=(.*)", re.DOTALL)
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"

_SEPARATORS = b"\x01\x1e\x1f"
"""Bytes that separate cells in texts: Hive's, and ASCII's own."""
LFS_POINTER = b"version https://git-lfs.github.com/spec"
"""What Git LFS writes in place of a file that was not fetched begins so."""
_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (b"PAR1", "parquet"),
    (b"PARE", "an encrypted Parquet file"),
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"PK\x03\x04", "zip"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Office file"),
    (b"SQLite format 3\0", "sqlite"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF\r\n", "an HDF5 file"),
    (b"ARROW1", "an Arrow or Feather file"),
    (b"FEA1", "a Feather file"),
    (b"ORC", "an ORC file"),
    (b"Obj\x01", "an Avro file"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"GIF8", "an image"),
    (b"$FL2", "an SPSS file"),
    (b"\x7fELF", "a program"),
    (LFS_POINTER, "a pointer"),
)


@dataclass(frozen=True)
class TablePart:
    """One file of a table.

    Attributes:
        path: the file.
        partition: values of the columns that its folders name, `key=value` each; a text, or None
            where Hive says there is no value.
    """

    path: Path
    partition: Mapping[str, str | None] = field(default_factory=dict)


def table_parts(path: Path, kind: TableKind) -> tuple[list[TablePart], list[str]]:
    """Return the files of a table in the order of their names, and what was left out of the folder,
    in words.

    Of a folder, files and folders whose names begin with `.` or `_` are no data, as Spark has it
    (`_SUCCESS`, `_metadata`).

    Raises:
        DataError: the folder has no such file, its files are in folders `key=value` of different
            keys, or a link leads out of it.
    """
    if not path.is_dir():
        return [TablePart(path)], []
    files: list[TablePart] = []
    foreign: Counter[str] = Counter()
    empty: list[str] = []
    _walk(path, path, kind, {}, files, foreign, empty)
    left_out = []
    if foreign:
        left_out.append(
            f"files that are no {_name(kind)}: {foreign.total():,} ({shorten(sorted(foreign), 3)})"
        )
    if empty:
        left_out.append(f"empty files: {len(empty):,} ({shorten(empty, 3)})")
    if not files:
        others = f" ({'; '.join(left_out)})" if left_out else ""
        raise DataError(
            f"{path}: expected a folder with {_name(kind)} files, found none{others}. Correct "
            "data.path or data.source."
        )
    keys = {tuple(file.partition) for file in files}
    if len(keys) > 1:
        named = sorted("/".join(file) or "no folder key=value" for file in keys)
        raise DataError(
            f"{path}: expected all files in folders of the same keys, found {shorten(named, 3)}. "
            "Correct the folders."
        )
    return files, left_out


def _name(kind: TableKind) -> str:
    if kind == "parquet":
        return "Parquet"
    return "CSV"


def _walk(
    root: Path,
    folder: Path,
    kind: TableKind,
    partition: dict[str, str | None],
    files: list[TablePart],
    foreign: Counter[str],
    empty: list[str],
) -> None:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = Path(entry.path)
        if entry.name.startswith(".") or (entry.name.startswith("_") and "=" not in entry.name):
            continue
        if entry.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
            raise DataError(
                f"{path}: expected a file inside {root}, found a link that leads out of it. Copy "
                "the file there."
            )
        if entry.is_dir():
            if entry.is_symlink():
                continue  # inside the folder: its files are found where they are
            match = _PARTITION.fullmatch(entry.name)
            inner = dict(partition)
            if match is not None:
                value = unquote(match[2])
                inner[unquote(match[1])] = None if value == _NO_VALUE else value
            _walk(root, path, kind, inner, files, foreign, empty)
        elif not _is_part(path, kind):
            foreign[str(path.relative_to(root))] += 1
        elif kind == "csv" and not entry.stat().st_size:
            empty.append(
                str(path.relative_to(root))
            )  # Spark writes a file for empty partitions too
        else:
            files.append(TablePart(path, partition))


def _is_part(path: Path, kind: TableKind) -> bool:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if kind == "parquet":
        compressed = (
            ".parquet" in suffixes and suffixes[-1] in _PACKED
        )  # read as such, or refused: it may hold rows
        return suffixes[-1:] == [".parquet"] or compressed or content_of(path) == "parquet"
    last = suffixes[-2:-1] if suffixes[-1:] and suffixes[-1] in COMPRESSIONS else suffixes[-1:]
    return last[:1] in ([suffix] for suffix in TEXT_SUFFIXES) or (
        not last and path.name.startswith("part-")
    )


def content_of(path: Path) -> str:
    """Return what a file is by its beginning: `parquet`, `gzip`, `bzip2`, `xz`, `zip`, `sqlite`,
    `empty`, `text`, or in words.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as err:
        raise DataError(
            f"{path}: cannot be read: {err.strerror or err}. Correct the path or its permissions."
        ) from err
    if not head:
        return "empty"
    for beginning, name in _BEGINNINGS:
        if head.startswith(beginning):
            return name
    if head.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "text"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or _zeros(head) != "none":
        if _zeros(head) != "mixed":
            return "text"
        return "binary data"
    odd = sum((byte < 9 or 13 < byte < 32) and byte not in _SEPARATORS for byte in head)
    if odd * 20 <= len(head):
        return "text"
    return "binary data"


def _zeros(head: bytes) -> Literal["none", "even", "odd", "mixed"]:
    """Return where zero bytes stand: every second byte of a text in UTF-16 that is mostly ASCII is
    one.
    """
    even = head[0::2].count(0)
    odd = head[1::2].count(0)
    if even + odd == 0:
        return "none"
    if max(even, odd) * 4 >= len(head) // 2 * 3 and min(even, odd) * 20 <= len(head):
        if even > odd:
            return "even"
        return "odd"
    if even + odd > max(8, len(head) // 50):
        return "mixed"
    return "none"


def utf16_without_mark(head: bytes) -> str | None:
    """Return `utf-16-le` or `utf-16-be` if a text's beginning looks like it, else None."""
    return {"even": "utf-16-be", "odd": "utf-16-le"}.get(_zeros(head))


_SOURCE_OF = {
    "parquet": "It is a Parquet file: set data.source=parquet",
    "text": "It is a text file: set data.source=csv",
    "sqlite": "It is a SQLite file: set data.source=sqlite if TFF wrote it, or export the table "
    "as CSV",
    "zip": "It is a ZIP archive (also .xlsx and .npz are): unpack it, save a sheet as CSV, or set "
    "data.source=npz",
    "empty": "It is empty",
    "a pointer": "It is the pointer that Git LFS has in place of a file: run `git lfs pull`",
}


def wrong_content(path: Path, expected: str, content: str) -> DataError:
    """Return the error that a file is not what its setting says, with the setting that fits."""
    remedy = _SOURCE_OF.get(content, f"It is {content}: convert it, or correct data.path")
    return DataError(f"{path}: expected {expected}, found another file. {remedy}.")
