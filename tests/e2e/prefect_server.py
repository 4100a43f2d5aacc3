"""A real Prefect server, and someone with a clone who uses it."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.services import free_port, program, wait_for


class Server:
    """A running server, and someone with a clone who uses it."""

    def __init__(self, user: Any, url: str) -> None:
        self.user, self.url = user, url
        # Asked each second for what is due; the default, each ten, is for machines that wait for hours.
        self.settings = {"PREFECT_API_URL": url, "PREFECT_RUNNER_POLL_FREQUENCY": "1"}

    def call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """GET, or with a body POST; return the JSON of the answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310
            f"{self.url}{path}", data, {"Content-Type": "application/json"}
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            request, timeout=10
        ) as answer:
            return json.load(answer)

    def run(self, *command: str) -> str:
        return str(self.user.run(*command, **self.settings).stdout)

    def flow_run(self, name: str) -> dict[str, Any] | None:
        found = self.call("/flow_runs/filter", {"flow_runs": {"name": {"any_": [name]}}})
        return found[0] if found else None

    def start_served(self, overrides: list[str], name: str) -> None:
        deployment = self.call("/deployments/name/federated-training/served")
        self.call(
            f"/deployments/{deployment['id']}/create_flow_run",
            {"parameters": {"overrides": overrides, "name": name}},
        )

    def of_run(self, kind: str, flow_run_id: str) -> list[Any]:
        found: list[Any] = self.call(
            f"/{kind}/filter", {"flow_runs": {"id": {"any_": [flow_run_id]}}}
        )
        return found


@contextmanager
def prefect_server(user: Any, home: Path | None = None) -> Iterator[Server]:
    """A server with its pages for the block, on a database in `home`, which is not where a temporary server of the user has one."""
    port, log = free_port(), user.home / "server.log"
    url = f"http://127.0.0.1:{port}/api"
    env = user.environment() | {
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_UI_API_URL": url,
    }
    env |= {"PREFECT_HOME": str(home or user.home / "server")}
    command = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with program(log, *command, env=env, cwd=user.project) as process:
        there = Server(user, url)
        wait_for("health", lambda: there.call("/health"), process, log)
        yield there
