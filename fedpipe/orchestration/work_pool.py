"""The work pool of a project's deployments, with a limit on its concurrent flow runs, on however
many machines.

The bound is the pool's own: Prefect's server hands out no more runs than that to all workers
together. One more per machine is a worker's `--limit`.
"""

from dataclasses import dataclass

from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL
from prefect.workers.process import ProcessWorker

from fedpipe.config.yaml_file import read_yaml
from fedpipe.errors import ConfigError, EnvironmentProblem
from fedpipe.orchestration.server import require_server
from fedpipe.project.paths import Project
from fedpipe.system.resources import free_memory_mb, usable_cores

CORES_EACH = 2
MEMORY_EACH_MB = 2400
"""What a training is counted for; the memory is that of its own process, the worker's child that
runs the flow, and the TFF worker.
"""


@dataclass(frozen=True)
class Pool:
    """A work pool: its name, the maximum number of its concurrent flow runs, and whether it was
    made just now.
    """

    name: str
    at_a_time: int
    made: bool


def fitting() -> int:
    """Return how many concurrent trainings the cores and the free memory of this machine allow; at
    least 1.
    """
    return max(1, min(usable_cores() // CORES_EACH, int(free_memory_mb() // MEMORY_EACH_MB)))


def set_up_pool(project: Project, at_a_time: int | None) -> Pool:
    """Make the pool that the project's `prefect.yaml` names, or set the bound of the one that is
    there.

    Args:
        project: whose deployments.
        at_a_time: maximum number of concurrent flow runs of the pool, at least 1; what this machine
            allows if not given.

    Raises:
        ConfigError: `prefect.yaml` names no one pool.
        EnvironmentProblem: no Prefect server is configured, or it does not answer, or the pool is
            of another type.
    """
    url = PREFECT_API_URL.value()
    if not url:
        raise EnvironmentProblem(
            "pool: expected a Prefect server, but PREFECT_API_URL is not set. Start one with `uv "
            "run prefect server start` and set PREFECT_API_URL=http://127.0.0.1:4200/api."
        )
    require_server(url)
    name = _name(project)
    limit = at_a_time or fitting()
    with get_client(sync_client=True) as client:
        try:
            there = client.read_work_pool(name)
        except ObjectNotFound:
            template = ProcessWorker.get_default_base_job_template()
            client.create_work_pool(
                WorkPoolCreate(
                    name=name, type="process", base_job_template=template, concurrency_limit=limit
                )
            )
            return Pool(name, limit, made=True)
        if there.type != "process":
            raise EnvironmentProblem(
                f"work pool '{name}': expected the type process, found {there.type}. Set its "
                f"bound with `prefect work-pool set-concurrency-limit {name} {limit}`, or name "
                "another pool in prefect.yaml."
            )
        client.update_work_pool(name, WorkPoolUpdate(concurrency_limit=limit))
    return Pool(name, limit, made=False)


def _name(project: Project) -> str:
    path = project.root / "prefect.yaml"
    try:
        deployments = read_yaml(path)["deployments"]
        names = {str(deployment["work_pool"]["name"]) for deployment in deployments}
    except (OSError, ValueError, TypeError, KeyError) as err:
        raise ConfigError(
            f"{path}: expected deployments with a work pool each, found {type(err).__name__}: "
            f"{err}. See docs/deploy.md."
        ) from err
    if len(names) != 1:
        raise ConfigError(
            f"{path}: expected one work pool for all deployments, found "
            f"{', '.join(sorted(names)) or 'none'}. Name one."
        )
    return names.pop()
