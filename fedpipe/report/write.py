"""Writes the report of one run, or of several side by side, as one HTML file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from fedpipe.errors import ConfigError
from fedpipe.project.paths import Project
from fedpipe.report.facts import RunFacts, differing
from fedpipe.report.gather import as_finished, gather
from fedpipe.report.page import labels, render
from fedpipe.runs.files import RunFiles, folder_of_run
from fedpipe.system.atomic_files import require_place, write_atomic

if TYPE_CHECKING:
    from mlflow.entities import Run

    from fedpipe.tracking.run import TrackedRun
    from fedpipe.tracking.store import Store

REPORT_NAME = "report.html"
MOST_RUNS = 16
_ID_LETTERS = 8


@dataclass(frozen=True)
class Report:
    """A report that was written.

    Attributes:
        path: of the file.
        runs: facts of the runs that it shows.
    """

    path: Path
    runs: tuple[RunFacts, ...]

    @property
    def missing(self) -> list[str]:
        """Return the sections that are missing, one line each."""
        lines = []
        for run, name in zip(self.runs, labels(self.runs), strict=True):
            for section, reason in run.missing_sections.items():
                lines.append(f"{name}: {section}: {reason}")
        return lines

    def to_json(self) -> str:
        """Return the path, the runs, the settings in which they differ and what is missing."""
        runs = [
            {
                "run_id": run.run_id,
                "name": name,
                "status": run.status,
                "missing": run.missing_sections,
            }
            for run, name in zip(self.runs, labels(self.runs), strict=True)
        ]
        size = self.path.stat().st_size
        summary = {"path": str(self.path), "bytes": size, "runs": runs}
        return json.dumps(summary | {"differs": dict(differing(self.runs))})


def report(project: Project, names: Sequence[str], out: Path | None = None) -> Report:
    """Write the report of the runs with these names (see `tracking.lookup.find_run`), in that
    order.

    Args:
        project: whose store is read.
        names: of runs; a run that is named twice is shown once.
        out: the file; by default `outputs/reports/report-ID.html` in the project.

    Raises:
        TrackingError: the store cannot be read, or has no such run.
        ConfigError: more runs than a page can show, or `out` cannot be written.
    """
    from fedpipe.tracking.lookup import find_run
    from fedpipe.tracking.store import read_store

    if len(names) > MOST_RUNS:
        raise ConfigError(
            f"report: expected at most {MOST_RUNS} runs side by side, found {len(names)}. Name "
            "fewer."
        )
    if out is not None:
        require_place(out, "the report")
    store = read_store(project.root)
    facts: dict[str, RunFacts] = {}
    for name in names:
        run = find_run(store, name)
        run_id = run.info.run_id
        if run_id not in facts:
            facts[run_id] = _facts(store, run, folder_of_run(project, run_id))
    if out is None:
        ids = "-".join(run_id[:_ID_LETTERS] for run_id in facts)
        out = project.outputs / "reports" / f"report-{ids}.html"
    runs = tuple(facts.values())
    write_atomic(out, render(runs))
    return Report(out, runs)


def log_report(run: "TrackedRun", run_dir: Path) -> Path:
    """Write the report of a run that is about to be finished into its folder and its artifacts, as
    `report.html`; return its path.

    Raises:
        TrackingError: the store refuses it.
    """
    store = run.store
    with store.guard(f"read run {run.run_id}"):
        recorded = store.client.get_run(run.run_id)
    facts = as_finished(_facts(store, recorded, run_dir))
    write_atomic(run_dir / REPORT_NAME, render([facts]))
    run.log_file(run_dir / REPORT_NAME)
    return run_dir / REPORT_NAME


def _facts(store: "Store", run: "Run", folder: Path | None) -> RunFacts:
    """Return the facts of a run; `folder` is its own on this machine, if it has one."""
    with TemporaryDirectory(prefix="fedpipe-report-") as scratch:
        return gather(store, run, RunFiles(store, run, folder, Path(scratch)))
