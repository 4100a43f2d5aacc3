"""Shows doctests as code on the pages of the code: in Markdown `>>>` would be a quotation."""

import re
from typing import Any

from griffe import Extension, Object

_BLOCK = re.compile(r"^( *)>>> .*(?:\n(?!\s*$).*)*", re.MULTILINE)


def fenced(text: str) -> str:
    r"""Return `text` with its doctests in fences.

    >>> fenced("Add.\n\n>>> 1 + 1\n2")
    'Add.\n\n```pycon\n>>> 1 + 1\n2\n```'
    """
    return _BLOCK.sub(lambda found: f"{found[1]}```pycon\n{found[0]}\n{found[1]}```", text)


class Doctests(Extension):
    """Changes each docstring when it has been read."""

    def on_object(self, *, obj: Object, **_more: Any) -> None:
        """Fence the docstring of a module, a class, a function or an attribute."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)
