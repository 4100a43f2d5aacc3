"""Texts from data, such as labels, client ids and run names, ready to be shown as they are in
pictures, tables and Markdown.
"""

LONGEST = 24
"""Characters of a name in a picture."""


def drawn(name: str, longest: int = LONGEST) -> str:
    r"""Return a name on one line for a picture: line breaks and control characters as escapes, cut
    at `longest` characters.

    >>> drawn("two\nlines"), drawn("a" * 30, longest=5)
    ('two\\nlines', 'aaaa…')
    """
    shown = name[: longest + 1]
    shown = "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in shown
    )
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def markdown(text: str) -> str:
    r"""Return a text that Markdown shows as it is, also in the cell of a table.

    >>> markdown("a|b `c` *d*")
    'a\\|b \\`c\\` \\*d\\*'
    """
    one_line = " ".join(text.split())
    return "".join(f"\\{one}" if one in "\\`*_[]<>|~&$" else one for one in one_line)


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
