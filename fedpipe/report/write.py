"""Step `report`: one HTML file of one run, or of several side by side."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from fedpipe.errors import ConfigError
from fedpipe.project.paths import Project
from fedpipe.report.facts import RunFacts, differing
from fedpipe.report.gather import as_finished, gather
from fedpipe.report.page import labels, render
from fedpipe.runs.files import RunFiles, folder_of_run
from fedpipe.system.atomic_files import require_place, write_atomic

if TYPE_CHECKING:
    from fedpipe.tracking.run import TrackedRun

REPORT_NAME = "report.html"
MOST_RUNS = 16
_ID = 8


@dataclass(frozen=True)
class Report:
    """A report that was written.

    Attributes:
        path: the file.
        runs: what it says.
    """

    path: Path
    runs: tuple[RunFacts, ...]

    @property
    def missing(self) -> list[str]:
        """Return the parts that are missing, a line each."""
        named = zip(self.runs, labels(self.runs), strict=True)
        return [
            f"{name}: {part}: {why}"
            for run, name in named
            for part, why in run.missing_parts.items()
        ]

    def to_json(self) -> str:
        """Return where it is, of which runs, in what they differ and what is missing."""
        about: dict[str, Any] = {
            "path": str(self.path),
            "bytes": self.path.stat().st_size,
            "runs": [
                {
                    "run_id": run.run_id,
                    "name": name,
                    "status": run.status,
                    "missing": run.missing_parts,
                }
                for run, name in zip(self.runs, labels(self.runs), strict=True)
            ],
            "differs": dict(differing(self.runs)),
        }
        return json.dumps(about)


def report(project: Project, wanted: Sequence[str], out: Path | None = None) -> Report:
    """Write the report of the runs that `wanted` names (see `tracking.lookup.find_run`), in that
    order.

    Args:
        project: whose store is read.
        wanted: runs; one that is named twice is shown once.
        out: the file; by default `outputs/reports/report-ID.html` in the project.

    Raises:
        TrackingError: the store cannot be read, or has no such run.
        ConfigError: more runs than a page can show, or `out` cannot be written.
    """
    from fedpipe.tracking.lookup import find_run
    from fedpipe.tracking.store import read_store

    if len(wanted) > MOST_RUNS:
        raise ConfigError(
            f"report: expected at most {MOST_RUNS} runs side by side, found {len(wanted)}. Name "
            "fewer."
        )
    if out is not None:
        require_place(out, "the report")
    store = read_store(project.root)
    runs = list({run.info.run_id: run for run in (find_run(store, one) for one in wanted)}.values())
    with TemporaryDirectory(prefix="fedpipe-report-") as scratch:
        found = tuple(
            gather(
                store,
                run,
                RunFiles(store, run, folder_of_run(project, run.info.run_id), Path(scratch)),
            )
            for run in runs
        )
    path = (
        out
        or project.outputs
        / "reports"
        / f"report-{'-'.join(run.run_id[:_ID] for run in found)}.html"
    )
    write_atomic(path, render(found))
    return Report(path, found)


def log_report(run: "TrackedRun", run_dir: Path) -> Path:
    """Write the report of a run that is about to be finished into its folder and its artifacts, as
    `report.html`; return its path.

    Raises:
        TrackingError: the store does not take it.
    """
    store = run.store
    with store.guard(f"read run {run.run_id}"):
        recorded = store.client.get_run(run.run_id)
    with TemporaryDirectory(prefix="fedpipe-report-") as scratch:
        found = as_finished(
            gather(store, recorded, RunFiles(store, recorded, run_dir, Path(scratch)))
        )
    write_atomic(run_dir / REPORT_NAME, render([found]))
    run.log_file(run_dir / REPORT_NAME)
    return run_dir / REPORT_NAME
