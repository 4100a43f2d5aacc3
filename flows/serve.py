"""Serves the deployments from this process, for a single machine: `fedpipe serve`."""

from prefect.settings import PREFECT_API_URL

from fedpipe.errors import EnvironmentProblem
from flows.train import federated_training


def serve_deployments() -> None:
    """Register the deployment `served` and run what is started of it, until interrupted.

    Raises:
        EnvironmentProblem: no Prefect server is configured: a temporary one would end with this process, and no page shows it.
    """
    if not PREFECT_API_URL.value():
        raise EnvironmentProblem(
            "serve: expected a Prefect server, but PREFECT_API_URL is not set. Start one with `uv run prefect server start` and set "
            "PREFECT_API_URL=http://127.0.0.1:4200/api."
        )
    federated_training.serve(name="served", tags=["fedpipe"])
