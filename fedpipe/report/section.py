"""A section of the report: charts, lines of text, a table. `templates/report.html` makes HTML of
it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fedpipe.figures.svg import Chart


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        columns: headings.
        rows: cells of each row, the first of which is its heading.
        total: number of rows if all were shown.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    total: int


@dataclass(frozen=True)
class Image:
    """An image: its data URI, and the words for those who do not see it."""

    src: str
    alt: str


@dataclass(frozen=True)
class ConfusedPair:
    """Two classes that the model confuses.

    Attributes:
        actual: name of the actual class.
        predicted: name of the predicted class.
        count: number of such mistakes.
        share: text with their fraction of the actual class.
        images: some of these examples.
    """

    actual: str
    predicted: str
    count: int
    share: str
    images: Sequence[Image]


@dataclass(frozen=True)
class Section:
    """The content of a section; empty parts are not shown."""

    charts: Sequence[Chart] = ()
    lines: Sequence[str] = ()
    table: Table | None = None
    pairs: Sequence[ConfusedPair] = ()
