"""Makes docstrings fit for the pages of the code.

Doctests become code, since in Markdown `>>>` would be a quotation; arguments that are explained together (`width, height: pixels.`) get
an entry each.
"""

import re
from typing import Any

from griffe import Extension, Object

_BLOCK = re.compile(r"^( *)>>> .*(?:\n(?!\s*$).*)*", re.MULTILINE)
_SHARED = re.compile(r"^( +)(\w+(?:, \w+)+):", re.MULTILINE)


def fenced(text: str) -> str:
    r"""Return `text` with its doctests in fences.

    >>> fenced("Add.\n\n>>> 1 + 1\n2")
    'Add.\n\n```pycon\n>>> 1 + 1\n2\n```'
    """
    return _BLOCK.sub(lambda found: f"{found[1]}```pycon\n{found[0]}\n{found[1]}```", text)


def apart(text: str) -> str:
    """Return `text` with an entry for each of the names that share one.

    >>> print(apart("Args:\\n    width, height: pixels."))
    Args:
        width: with `height`.
        height: pixels.
    """

    def entries(found: re.Match[str]) -> str:
        *names, last = found[2].split(", ")
        return (
            "".join(f"{found[1]}{name}: with `{last}`.\n" for name in names) + f"{found[1]}{last}:"
        )

    return _SHARED.sub(entries, text)


class Docstrings(Extension):
    """Changes each docstring when it has been read."""

    def on_object(self, *, obj: Object, **_more: Any) -> None:
        """Change the docstring of a module, a class, a function or an attribute."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(apart(obj.docstring.value))
