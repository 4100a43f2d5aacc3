"""Pictures of a run: written into its folder, then copied to its artifacts."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedpipe.figures.svg import Chart
    from fedpipe.tracking.run import TrackedRun


def log_picture(run: "TrackedRun", charts: "Sequence[Chart]", name: str, run_dir: Path) -> None:
    """Write charts as one SVG file to `run_dir/NAME`, and to the same place among the run's
    artifacts.

    Raises:
        TrackingError: the store does not take it.
    """
    from fedpipe.figures.picture_file import write_picture

    path = run_dir / name
    write_picture(charts, path)
    parent = Path(name).parent.as_posix()
    run.log_file(path, None if parent == "." else parent)
