"""Tables as CSV text. The same rows give the same bytes on every system."""

import csv
import io
from collections.abc import Iterable, Sequence


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a header and rows as CSV.

    >>> csv_text(["name", "value"], [["a,b", 1]])
    'name,value\\n"a,b",1\\n'
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
