"""Runs a sweep in this process: as a Prefect flow run where a server is configured, which then
shows it; else without one.

A sweep has no temporary server of its own, as `fedpipe run` has: nobody would see its pages, and
its trials are no flow runs.
"""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Unpack

from fedpipe.config.sweep import load_sweep
from fedpipe.errors import ConfigError, EnvironmentProblem
from fedpipe.orchestration.home import use_writable_home
from fedpipe.project.paths import PREFECT_HOME, Project
from fedpipe.sweep.sweep import SweepOptions, load, run_sweep
from fedpipe.system.log_redaction import watch_outlets


def launch_sweep(
    project: Project,
    path: Path,
    overrides: Sequence[str] = (),
    dask: str | None = None,
    **options: Unpack[SweepOptions],
) -> dict[str, Any]:
    """Run a sweep and return its summary; the arguments and errors are those of
    `fedpipe.sweep.sweep.run_sweep`.

    `dask` is the address of a Dask scheduler that trials run on, or `local`; Prefect's task
    runner brings them there, so it needs a server, and trials there are not pruned.
    """
    watch_outlets()
    os.chdir(project.root)
    use_writable_home(project)
    from prefect.settings import PREFECT_API_URL

    if dask is not None:
        _check_dask(path, bool(PREFECT_API_URL.value()))
    if not PREFECT_API_URL.value():
        return run_sweep(project, path, overrides, **options)
    from fedpipe.orchestration.cancel import ending_when_cancelled
    from fedpipe.orchestration.server import prefect_api
    from fedpipe.orchestration.sweep_events import SweepFlow, watching
    from flows.sweep import federated_sweep

    out = options.get("out")
    with (
        prefect_api(project.private / "prefect-server.log", project.private / PREFECT_HOME),
        ExitStack() as stack,
    ):
        run = SweepFlow()
        flow = federated_sweep
        if dask is not None:
            from fedpipe.orchestration.dask_pool import DaskPool, cluster

            sweep, *_ = load(project, path, overrides)
            asked = (sweep.cores_per_child, sweep.memory_per_child_mb, sweep.max_parallel)
            runner, most = stack.enter_context(cluster(dask, *asked))
            run.pool = DaskPool(project, most, sweep.cores_per_child)
            flow = flow.with_options(task_runner=runner)
        with watching(run, options.get("watcher")), ending_when_cancelled(run):
            return flow(
                str(path), list(overrides), options.get("resume", False), str(out) if out else None
            )


def _check_dask(path: Path, server: bool) -> None:
    if not server:
        raise EnvironmentProblem(
            "--dask: expected a Prefect server, whose task runner brings trials to the cluster, "
            "but PREFECT_API_URL is not set. Start one with `uv run prefect server start` and set "
            "PREFECT_API_URL=http://127.0.0.1:4200/api."
        )
    if load_sweep(path).pruning is not None:
        raise ConfigError(
            f"{path.name}: pruning is set but trials on a Dask cluster are not pruned. Leave "
            "pruning out, or run it without --dask."
        )
