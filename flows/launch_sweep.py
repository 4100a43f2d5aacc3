"""Runs a sweep in this process: as a Prefect flow run where a server is configured, which then shows it; else without one.

A sweep has no temporary server of its own, as `fedpipe run` has: nobody would see its pages, and its children are no flow runs.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedpipe.outlets import watch_outlets
from fedpipe.steps.project import Project
from fedpipe.steps.sweep import run_sweep
from fedpipe.steps.sweep_run import SweepWatcher
from flows.home import use_writable_home


def launch_sweep(
    project: Project,
    path: Path,
    overrides: Sequence[str] = (),
    *,
    resume: bool = False,
    out: Path | None = None,
    watcher: SweepWatcher | None = None,
) -> dict[str, Any]:
    """Run a sweep and return its summary; the arguments and errors are those of `fedpipe.steps.sweep.run_sweep`."""
    watch_outlets()
    os.chdir(project.root)
    use_writable_home(project)
    from prefect.settings import PREFECT_API_URL

    if not PREFECT_API_URL.value():
        return run_sweep(project, path, overrides, resume=resume, out=out, watcher=watcher)
    from flows.cancel import ending_when_cancelled
    from flows.server import prefect_api
    from flows.sweep import SweepFlow, federated_sweep, watching

    with prefect_api(project.private / "prefect-server.log"):
        run = SweepFlow()
        with watching(run, watcher), ending_when_cancelled(run):
            return federated_sweep(str(path), list(overrides), resume, str(out) if out else None)
