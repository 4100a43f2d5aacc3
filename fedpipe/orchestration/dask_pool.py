"""The trials of a sweep on a Dask cluster: each a Prefect task, which a Dask worker runs by
starting the trial's process beside itself.

TensorFlow is not loaded into Dask's workers, whose threads it would disturb: what the task runs is
`trial_processes.Pool` with one trial, so a trial ends as it does without Dask, and is gone when its
worker is. Workers have the project at the same path (a shared file system), the extra
`fedpipe[dask]`, and the variables that name the stores.
"""

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from fedpipe.errors import EnvironmentProblem
from fedpipe.project.paths import Project
from fedpipe.sweep.trial_processes import Ended, Pool, Round, most_trials

LOCAL = "local"
_STOP_NAME = "sweep.stop"
_END_SECONDS = 20.0
_POLL_SECONDS = 0.2
_CONNECT_SECONDS = 30
_LOST = 128 + 9
"""The code of a trial whose Dask worker is gone, and the trial's process with it."""


def run_here(root: str, folder: str, cores: int) -> int:
    """Run the trial whose run is in `folder` to its end, and return its exit code; a file
    `sweep.stop` beside it ends it.
    """
    place = Path(folder)
    with Pool(Project(Path(root)), 1, cores, 0) as pool:
        pool.start(0, place)
        while not (place / _STOP_NAME).exists():
            for event in pool.events():
                if isinstance(event, Ended):
                    return event.code
                pool.answer(0, None)  # what others did is not known here: nothing is pruned
    return _LOST


# Not as a decorator: the task goes to the cluster by the name of its function, which must be found
# under it there.
_sweep_trial = task(name="sweep-child", cache_policy=NO_CACHE, persist_result=False)(run_here)


class DaskPool:
    """The trials that are on the cluster; as `trial_processes.Pool`, to the process that runs the
    sweep. Used inside the sweep's flow.
    """

    def __init__(self, project: Project, most: int, cores: int) -> None:
        """Have at most `most` trials on the cluster, of so many cores each."""
        self._project = project
        self._most = most
        self._cores = cores
        self._trials: dict[int, tuple[Any, Path]] = {}

    def __enter__(self) -> "DaskPool":
        """Return the pool."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the trials that still run, wherever they do."""
        for _, folder in self._trials.values():
            (folder / _STOP_NAME).touch()
        limit = time.monotonic() + _END_SECONDS
        while time.monotonic() < limit and not all(
            future.wrapped_future.done() for future, _ in self._trials.values()
        ):
            time.sleep(_POLL_SECONDS)

    @property
    def running(self) -> int:
        """Return how many trials there are on the cluster."""
        return len(self._trials)

    def has_room(self) -> bool:
        """Return whether another trial may start."""
        return len(self._trials) < self._most

    def start(self, number: int, folder: Path) -> None:
        """Give the trial whose run is in `folder` to the cluster."""
        (folder / _STOP_NAME).unlink(missing_ok=True)
        named = _sweep_trial.with_options(task_run_name=folder.name)
        self._trials[number] = (
            named.submit(str(self._project.root), str(folder), self._cores),
            folder,
        )

    def events(self) -> Iterator[Round | Ended]:
        """Yield the trials that have ended by now."""
        time.sleep(_POLL_SECONDS)
        for number, (future, _) in list(self._trials.items()):
            if future.wrapped_future.done():
                del self._trials[number]
                # Another status: the cluster lost the task with its worker, and what it has to say
                # of it is not the trial's.
                code = (
                    future.result(raise_on_failure=False)
                    if future.wrapped_future.status == "finished"
                    else None
                )
                yield Ended(number, code if isinstance(code, int) else _LOST)

    def answer(self, number: int, why_not: str | None) -> None:
        """Do nothing: trials on a cluster are answered where they run."""


@contextmanager
def cluster(
    address: str, cores: int, memory_mb: int, asked: int | None
) -> Iterator[tuple[Any, int]]:
    """Give a task runner on a cluster and the number of trials that it takes at a time.

    Args:
        address: of a scheduler, such as `tcp://HOST:8786`, each of whose threads takes a trial; or
            `local`: workers on this machine, as many as there is room for, that end with the block.
        cores: that a trial counts for, on this machine.
        memory_mb: that a trial counts for, on this machine.
        asked: trials at a time, at most.

    Raises:
        EnvironmentProblem: the extra is not installed, or no scheduler answers.
    """
    try:
        from distributed import Client, LocalCluster
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError as err:
        raise EnvironmentProblem(
            f"--dask: expected Dask, found {err}. Install it: `uv sync --extra dask`, or `pip "
            "install 'fedpipe[dask]'`."
        ) from err
    with contextlib.ExitStack() as stack:
        if address == LOCAL:
            most = most_trials(cores, memory_mb, asked)
            own: Any = LocalCluster(
                n_workers=most, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
            )  # type: ignore[no-untyped-call]
            stack.enter_context(own)
            yield DaskTaskRunner(address=own.scheduler_address), most
            return
        try:
            client: Any = stack.enter_context(Client(address, timeout=_CONNECT_SECONDS))  # type: ignore[no-untyped-call]
        except (OSError, ValueError) as err:
            raise EnvironmentProblem(
                f"--dask {address}: expected a Dask scheduler, found {type(err).__name__}: {err}. "
                "Start one with `dask scheduler`, or say `--dask local`."
            ) from err
        threads = sum(client.nthreads().values())
        if not threads:
            raise EnvironmentProblem(
                f"--dask {address}: expected a cluster with workers, found none. Start one with "
                f"`dask worker {address}`."
            )
        yield DaskTaskRunner(address=address), min(asked or threads, threads)
