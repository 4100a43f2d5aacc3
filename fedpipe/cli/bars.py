"""Bars of several trainings beside each other, on stderr while a block runs."""

from types import TracebackType
from typing import Self


class Bars:
    """Base of the bars of sweeps and studies: one for the whole, one for each training."""

    def __init__(self, quiet: bool, *texts: str) -> None:
        """Show nothing if `quiet`; `texts` stand behind the bars, as Rich formats them."""
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )

        from fedpipe.cli.progress import console

        columns = (
            TextColumn("{task.description}", markup=False),
            MofNCompleteColumn(),
            BarColumn(),
            *(TextColumn(text, markup=False) for text in texts),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=console, disable=quiet)

    def __enter__(self) -> Self:
        """Show the bars."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the bars as they stand."""
        self._progress.stop()
