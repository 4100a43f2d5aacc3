"""Serves the deployment `served` from this process, for a single machine: `fedpipe serve`."""

import asyncio
import os
import signal
from typing import Any

from prefect import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.runner import Runner
from prefect.settings import PREFECT_API_URL
from prefect.types.entrypoint import EntrypointType

from fedpipe.errors import EnvironmentProblem
from fedpipe.launch import entrypoints
from fedpipe.launch.entrypoints import federated_training
from fedpipe.orchestration.open_ports import warn_of_open_ports
from fedpipe.orchestration.server import require_server


def served_deployment() -> Any:
    """Return the deployment `served` of the training flow."""
    # Simple: Prefect would otherwise store the address of the git remote, with the token that it
    # may hold.
    simple: Any = "prefect:simple"
    deployment: Any = federated_training.to_deployment(
        "served",
        tags=["fedpipe"],
        version_type=simple,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    deployment.entrypoint = f"{entrypoints.__name__}.{federated_training.fn.__name__}"
    return deployment


class EndingRunner(Runner):
    """A runner that cancels its run when it is terminated; Prefect's own waits until the run is
    finished.
    """

    async def cancel_all(self) -> None:
        """Cancel the run, if one is running; Prefect would call a finished one cancelled while its
        process still ends.
        """
        states = FlowRunFilterState(
            type=FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING])
        )
        served = DeploymentFilter(name=DeploymentFilterName(any_=[self.name]))
        async with get_client() as client:
            active_runs = await client.read_flow_runs(
                flow_run_filter=FlowRunFilter(state=states), deployment_filter=served
            )
        if active_runs:
            await super().cancel_all()

    def handle_sigterm(self, *_args: Any, **_more: Any) -> None:
        """Stop serving, and cancel the run with its TFF worker."""
        if not self.started:
            raise KeyboardInterrupt
        self.execute_in_background(self.astop)


def serve_deployments() -> None:
    """Register the deployment `served` and run what is started of it, one run at a time, until
    SIGINT or SIGTERM.

    Raises:
        EnvironmentProblem: no Prefect server is configured (a temporary one would end with this
            process, and no page shows it), or the configured one does not answer.
    """
    url = PREFECT_API_URL.value()
    if not url:
        raise EnvironmentProblem(
            "serve: expected a Prefect server, but PREFECT_API_URL is not set. Start one with `uv "
            "run prefect server start` and set PREFECT_API_URL=http://127.0.0.1:4200/api."
        )
    require_server(url)
    warn_of_open_ports()
    # In the runs' processes no file of the project is imported in the place of a module.
    os.environ["PYTHONSAFEPATH"] = "1"
    runner = EndingRunner(name="served", limit=1)
    runner.add_deployment(served_deployment())
    print(
        "Serving federated-training/served. Start a run: uv run prefect deployment run "
        "federated-training/served",
        flush=True,
    )
    signal.signal(signal.SIGINT, runner.handle_sigterm)
    asyncio.run(runner.start())
