"""Texts from data, such as labels, client ids and run names, ready to be shown as they are in
pictures, tables and Markdown.
"""

import math
import re
from typing import Any

LONGEST = 24
"""Characters of a name in a picture."""


def drawn(name: str, longest: int = LONGEST) -> str:
    r"""Return a name on one line for a picture: line breaks and control characters as escapes, cut
    at `longest` characters.

    >>> drawn("two\nlines"), drawn("a" * 30, longest=5)
    ('two\\nlines', 'aaaa…')
    """
    printable = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in name[: longest + 1]
    )
    if len(printable) <= longest:
        return printable
    return f"{printable[: longest - 1]}…"


def number(value: float) -> str:
    """Return a number in short.

    >>> number(0.3000000001), number(1500.0), number(2e-7), number(float("nan"))
    ('0.3', '1,500', '2e-07', 'not a number')
    """
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "infinite"
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    return f"{value:.4g}"


def optional_number(value: float | None) -> str:
    """Return a number in short; of no number an empty text."""
    if value is None:
        return ""
    return number(value)


def setting_text(value: Any) -> str:
    """Return a setting's value as params.yaml has it.

    >>> setting_text(None), setting_text(True), setting_text(0.10), setting_text("sgd")
    ('null', 'true', '0.1', 'sgd')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return number(float(value))
    return str(value)


def shown_of(shown: int, total: int) -> str:
    """Return how many are shown, and of how many.

    >>> shown_of(3, 3), shown_of(100, 3000)
    ('3', '100 of 3000')
    """
    if shown < total:
        return f"{shown} of {total}"
    return str(total)


def markdown(text: str) -> str:
    r"""Return a text that Markdown shows as it is, also in the cell of a table.

    >>> markdown("a|b `c` *d*")
    'a\\|b \\`c\\` \\*d\\*'
    """
    one_line = " ".join(text.split())
    return re.sub(r"[\\`*_\[\]<>|~&$]", r"\\\g<0>", one_line)


def markdown_code(text: str) -> str:
    """Return a text as a code span of Markdown, whatever it holds; a `|` would end the cell of a
    table and becomes `¦`.

    >>> markdown_code("a`b|c")
    '`` a`b¦c ``'
    """
    one_line = " ".join(text.split()).replace("|", "¦")
    if "`" not in one_line:
        return f"`{one_line}`"
    fence = "`"
    while fence in one_line:
        fence += "`"
    return f"{fence} {one_line} {fence}"
