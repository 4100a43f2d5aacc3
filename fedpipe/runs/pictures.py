"""Pictures of a run: written into its folder, then copied to its artifacts."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fedpipe.tracking.run import TrackedRun


def log_figure(run: "TrackedRun", figure: "Figure", name: str, run_dir: Path) -> None:
    """Write a figure to `run_dir/NAME`, whose ending says the format, and to the same place among
    the run's artifacts.

    Raises:
        TrackingError: the store does not take it.
    """
    from fedpipe.figures.plots import save_figure

    path = run_dir / name
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, path)
    parent = Path(name).parent.as_posix()
    run.log_file(path, None if parent == "." else parent)
