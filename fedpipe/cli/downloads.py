"""The progress bar of downloads: bytes, rate and time left, on stderr."""

from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


class DownloadBar:
    """What `fedpipe.data.download.watched` takes. Nothing is shown before the first bytes
    arrive.
    """

    def __init__(self, console: Console, quiet: bool) -> None:
        """Draw on `console`; a quiet bar shows nothing. Its `progress` is a Rich renderable, to be
        shown by the owner of the screen.
        """
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        self.progress = Progress(*columns, console=console, disable=quiet)
        self._task: Any = None

    def __call__(self, received: int, total: int | None) -> None:
        """Take the bytes that are there and the bytes of the whole."""
        if self._task is None or self.progress.tasks[0].finished:
            for task in self.progress.task_ids:
                self.progress.remove_task(task)
            self._task = self.progress.add_task("download", total=total)
        self.progress.update(self._task, completed=received, total=total)
