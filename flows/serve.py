"""Serves the deployment `served` from this process, for a single machine: `fedpipe serve`."""

import asyncio
import signal
from typing import Any

from prefect.runner import Runner
from prefect.settings import PREFECT_API_URL

from fedpipe.errors import EnvironmentProblem
from flows.server import require_server
from flows.train import federated_training


class EndingRunner(Runner):
    """A runner that cancels its runs when it is told to end; Prefect's own goes on until they are through."""

    def handle_sigterm(self, *_args: Any, **_more: Any) -> None:
        """Cancel what runs, each with its TFF worker, and stop serving."""
        if not self.started:
            raise KeyboardInterrupt
        self.execute_in_background(self.astop)


def serve_deployments() -> None:
    """Register the deployment `served` and run what is started of it, one run at a time, until SIGINT or SIGTERM.

    Raises:
        EnvironmentProblem: no Prefect server is configured (a temporary one would end with this process, and no page shows
            it), or the configured one does not answer.
    """
    url = PREFECT_API_URL.value()
    if not url:
        raise EnvironmentProblem(
            "serve: expected a Prefect server, but PREFECT_API_URL is not set. Start one with `uv run prefect server start` and set "
            "PREFECT_API_URL=http://127.0.0.1:4200/api."
        )
    require_server(url)
    runner = EndingRunner(name="served", limit=1)
    runner.add_flow(federated_training, name="served", tags=["fedpipe"])
    print("Serving federated-training/served. Start a run: uv run prefect deployment run federated-training/served", flush=True)
    signal.signal(signal.SIGINT, runner.handle_sigterm)
    asyncio.run(runner.start())
