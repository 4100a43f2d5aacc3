"""How a CSV file is written: its compression, encoding, separator and decimal sign."""

import bz2
import codecs
import csv
import gzip
import io
import lzma
import re
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

from fedpipe.config import DataConfig
from fedpipe.data.sources.places import unreadable
from fedpipe.data.sources.table_files import content_of, utf16_without_mark, wrong_content
from fedpipe.errors import DataError

SEPARATORS = (",", ";", "\t", "|")
DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError)
"""What reading a damaged file raises."""

_OPENERS: dict[str, Any] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE_CHARACTERS = 65_536
_SAMPLE_RECORDS = 50
_NAMES = {"\t": "tab", " ": "space", ",": "comma", ";": "semicolon", "|": "pipe"}


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written.

    Attributes:
        separator: one character.
        encoding: as Python names it.
        decimal: `.` or `,`.
        skips_spaces: whether a space after each separator is no part of the cell.
        description: the same in words, with what was detected.
    """

    separator: str
    encoding: str
    decimal: str
    skips_spaces: bool
    description: str

    def records(self, text: IO[str], strict: bool = False) -> Any:
        """Return a `csv.reader`; use it inside `long_cells`."""
        return csv.reader(
            text, delimiter=self.separator, skipinitialspace=self.skips_spaces, strict=strict
        )


def detect_dialect(config: DataConfig, path: Path) -> Dialect:
    """Return how a file is written, by the settings and else by its beginning.

    Raises:
        DataError: it is damaged, no text, or in another encoding than the settings say.
    """
    try:
        with open_bytes(path) as file:
            head = file.read(4 * _SAMPLE_CHARACTERS)
    except DAMAGED as err:
        raise unreadable(path, "a CSV file", err) from err
    encoding, encoding_text = _encoding(config, path, head)
    try:
        sample = codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeError:  # reading the rows names the first wrong byte
        sample = head.decode("latin-1")
    sample = sample[:_SAMPLE_CHARACTERS]
    separator = config.separator or _separator(config, sample)
    first_line = next((line for line in sample.splitlines() if line.strip()), "")
    sign = re.escape(separator)
    spaced = re.fullmatch(rf"[^{sign}]+({sign} [^{sign}]*)+", first_line) is not None
    detected = "" if config.separator else " (detected)"
    decimal = "comma" if config.decimal == "," else "point"
    return Dialect(
        separator,
        encoding,
        config.decimal,
        spaced and separator != " ",
        f"separator {separator_name(separator)}{detected}, encoding {encoding_text}, decimal sign "
        f"{decimal}",
    )


def separator_name(separator: str) -> str:
    """Return how a message names a separator."""
    return _NAMES.get(separator, repr(separator))


def is_blank(record: list[str]) -> bool:
    """Return whether a record is a line without cells, which is no row."""
    return not record or (len(record) == 1 and not record[0].strip())


@contextmanager
def long_cells() -> Iterator[None]:
    """Let Python's `csv` read cells of any length within the block."""
    before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open a file and decompress it. Raises DataError if it is empty or no text."""
    content = content_of(path)
    if content == "empty":
        raise no_header(path)
    if content != "text" and content not in _OPENERS:
        raise wrong_content(path, "a CSV file", content)
    with _OPENERS.get(content, Path.open)(path, "rb") as file:
        yield file


def no_header(path: Path) -> DataError:
    """Return the error that a file has neither header nor rows."""
    return DataError(
        f"{path}: expected a header and rows, found an empty file. Correct data.path or the file."
    )


@contextmanager
def open_text(path: Path, encoding: str) -> Iterator[IO[str]]:
    """Open a file as text, with its line breaks as they are."""
    with open_bytes(path) as file, io.TextIOWrapper(file, encoding=encoding, newline="") as text:
        yield text


def wrong_encoding(path: Path, encoding: str, err: UnicodeError) -> DataError:
    """Return the error that names the first byte that is not of the encoding."""
    encoding = encoding.removesuffix("-sig")
    place = "other bytes"
    if encoding.startswith(("utf-16", "utf-32")):
        place = "no byte order mark" if "BOM" in str(err) else f"bytes that are none ({err})"
    else:
        with open_bytes(path) as file:
            for line, body in enumerate(file, 1):
                try:
                    body.decode(encoding)
                except UnicodeError as bad:
                    byte = body[bad.start if isinstance(bad, UnicodeDecodeError) else 0]
                    place = f"the byte 0x{byte:02x} in line {line}, which is none"
                    break
    advice = "cp1252 (Windows) or latin-1" if encoding == "utf-8" else "utf-8"
    return DataError(
        f"{path}: expected a text in {encoding}, found {place}. Set data.encoding to the "
        f"file's, for example {advice}, or save the file as UTF-8."
    )


def _encoding(config: DataConfig, path: Path, head: bytes) -> tuple[str, str]:
    """Return the encoding of a text as Python names it, and in words."""
    mark = next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None)
    utf16 = utf16_without_mark(head[:4096])
    chosen = config.encoding and codecs.lookup(config.encoding).name
    family = (mark or "").removesuffix("-sig")
    expected = f"{config.encoding}, as data.encoding says"
    if chosen and not chosen.startswith(family):
        raise DataError(
            f"{path}: expected {expected}, found the byte order mark of {family}. Set "
            f"data.encoding={family} or null."
        )
    if mark is not None:
        return mark, f"{family} (byte order mark)"
    if utf16 is not None and not chosen:
        raise DataError(
            f"{path}: expected UTF-8, found what looks like UTF-16 without a byte order mark. "
            f"Set data.encoding={utf16}."
        )
    if utf16 is not None and chosen and not chosen.startswith(("utf-16", "utf-32")):
        raise DataError(
            f"{path}: expected {expected}, found what looks like UTF-16. Set data.encoding={utf16}."
        )
    if not chosen or chosen == "utf-8":  # of a folder, another file may have the mark
        return "utf-8-sig", config.encoding or "utf-8"
    return chosen, f"{config.encoding}"


def _separator(config: DataConfig, sample: str) -> str:
    """Return the separator that gives the first rows one number of cells; where several do, the one
    that gives more cells.
    """
    given_names = {name.lower() for name in (*config.label_columns, config.client_column) if name}
    scores: list[tuple[bool, bool, bool, float, int, str]] = []
    for separator in (*SEPARATORS, " "):
        records = _first_records(sample, separator)
        if not records:
            continue
        width = len(records[0])
        alike = sum(len(record) == width for record in records) / len(records)
        is_table = width > 1 and alike == 1
        has_names = {cell.strip().lower() for cell in records[0]} >= given_names
        if separator == " ":
            is_text = alike < 1 or len(records) < 2 or any("" in record for record in records)
            is_split = any(score[2] for score in scores)
            if is_text or (is_split and not (is_table and has_names)):
                continue
        scores.append((is_table, has_names, width > 1, alike, width, separator))
    best = max(scores, key=lambda score: score[:5], default=None)
    if best is not None and best[2]:
        return best[-1]
    return ","


def _first_records(sample: str, separator: str) -> list[list[str]]:
    """Return the first records of a text; none if `csv` cannot read it with this separator."""
    rows = csv.reader(io.StringIO(sample, newline=""), delimiter=separator)
    try:
        with long_cells():
            records = [row for row in islice(rows, _SAMPLE_RECORDS + 1) if not is_blank(row)]
    except csv.Error:
        return []
    is_cut = len(sample) == _SAMPLE_CHARACTERS
    if is_cut and 1 < len(records) <= _SAMPLE_RECORDS:
        return records[:-1]
    return records
