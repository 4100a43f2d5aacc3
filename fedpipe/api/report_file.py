"""An HTML report that a notebook shows."""

import html
from dataclasses import dataclass
from pathlib import Path

_HEIGHT = 720
"""Pixels of the frame in a notebook."""


@dataclass(frozen=True)
class ReportFile:
    """A report; `open` and other functions of files take it as its path.

    Attributes:
        path: of the HTML file.
    """

    path: Path

    def __fspath__(self) -> str:
        """Return the path."""
        return str(self.path)

    def __str__(self) -> str:
        """Return the path."""
        return str(self.path)

    def _repr_html_(self) -> str:
        """Return the page in a frame of its own, so that its styles stay within."""
        page = html.escape(self.path.read_text(encoding="utf-8"), quote=True)
        return f'<iframe srcdoc="{page}" style="width:100%;height:{_HEIGHT}px;border:0"></iframe>'
