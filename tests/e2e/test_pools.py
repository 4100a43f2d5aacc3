"""Two real process workers on one pool: its bound holds for both together, each takes its part, and what waits is not lost."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.prefect_server import Server, prefect_server
from tests.e2e.test_prefect import none_left
from tests.services import program, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(4000)]

LONG = 1500
"""Seconds that several trainings, one after the other, may take on a machine that has other work."""

ON = ("PENDING", "RUNNING", "CANCELLING")


@pytest.fixture(scope="module")
def server(make_user: Callable[..., Any]) -> Iterator[Server]:
    """A server with the pool, the deployments, and two workers that take one run each."""
    user = make_user()
    user.train("--name", "first", "-S", "rounds=1")  # the store and the data are there
    with prefect_server(user) as there, ExitStack() as stack:
        there.run("fedpipe", "pool", "--at-a-time", "1")
        there.run("prefect", "deploy", "--all")
        env = user.environment() | there.settings
        for name in ("one", "two"):
            log = user.home / f"worker-{name}.log"
            command = [
                "prefect",
                "worker",
                "start",
                "--pool",
                "fedpipe",
                "--name",
                name,
                "--limit",
                "1",
            ]
            process = stack.enter_context(program(log, *command, env=env, cwd=user.project))
            wait_for("the worker", lambda name=name: name in online(there), process, log, LONG)
        there.log, there.process = log, process  # type: ignore[attr-defined]
        yield there
    none_left(there)


def online(server: Server) -> list[str]:
    return [
        one["name"]
        for one in server.call("/work_pools/fedpipe/workers/filter", {})
        if one["status"] == "ONLINE"
    ]


def start(server: Server, name: str, rounds: int) -> str:
    deployment = server.call("/deployments/name/federated-training/train")
    parameters = {"name": name, "overrides": [f"rounds={rounds}"]}
    made = server.call(
        f"/deployments/{deployment['id']}/create_flow_run",
        {"parameters": parameters, "state": {"type": "SCHEDULED"}},
    )
    return str(made["id"])


def run_of(server: Server, run_id: str) -> dict[str, Any]:
    found: dict[str, Any] = server.call(f"/flow_runs/{run_id}")
    return found


def when(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def wait(server: Server, what: str, found: Callable[[], Any]) -> Any:
    return wait_for(what, found, server.process, server.log, LONG)  # type: ignore[attr-defined]


def test_the_bound_of_one_holds_for_two_workers(server: Server) -> None:
    ids = [start(server, f"queued-{number}", 2) for number in range(3)]
    most = 0

    def done() -> bool:
        nonlocal most
        states = [run_of(server, one)["state_type"] for one in ids]
        most = max(most, sum(state in ON for state in states))
        return all(state not in (*ON, "SCHEDULED") for state in states)

    wait(server, "the end of all three", done)
    runs = sorted((run_of(server, one) for one in ids), key=lambda run: str(run["start_time"]))
    assert [run["state_type"] for run in runs] == ["COMPLETED"] * 3
    assert most == 1
    # By the server's own times too: none began before the one before it had ended.
    assert all(
        when(after["start_time"]) >= when(before["end_time"]) for before, after in pairwise(runs)
    )


def test_a_bound_of_two_gives_each_worker_one_and_the_third_waits(server: Server) -> None:
    assert "2 at a time" in server.run("fedpipe", "pool", "--at-a-time", "2")
    ids = [start(server, f"beside-{number}", 100_000) for number in range(3)]
    folder: Path = server.user.project / ".fedpipe" / "runs"

    def training() -> list[str]:
        journals = {one.parent.name: one for one in folder.glob("beside-*/rounds.jsonl")}
        return [
            name for name, journal in journals.items() if len(journal.read_text().splitlines()) > 2
        ]

    wait(server, "two trainings", lambda: len(training()) == 2)
    before = {
        name: len((folder / name / "rounds.jsonl").read_text().splitlines()) for name in training()
    }
    wait(
        server,
        "rounds of both",
        lambda: all(
            len((folder / n / "rounds.jsonl").read_text().splitlines()) > c
            for n, c in before.items()
        ),
    )
    states = {one: run_of(server, one)["state_type"] for one in ids}
    assert sorted(states.values()) == ["RUNNING", "RUNNING", "SCHEDULED"]
    (waiting,) = [one for one, state in states.items() if state == "SCHEDULED"]
    server.call(f"/flow_runs/{waiting}/set_state", {"state": {"type": "CANCELLED"}, "force": True})
    for one in ids:
        if one != waiting:
            server.call(f"/flow_runs/{one}/set_state", {"state": {"type": "CANCELLING"}})
    wait(
        server,
        "the end",
        lambda: all(run_of(server, one)["state_type"] == "CANCELLED" for one in ids),
    )


def test_a_sweep_runs_on_the_pool(server: Server) -> None:
    body = {"search": "grid", "overrides": ["data.validation_fraction=0.2", "rounds=2"]}
    path = server.user.project / "rates.yaml"
    path.write_text(
        json.dumps(body | {"space": {"client.learning_rate": {"choices": [0.1, 0.01]}}})
    )
    deployment = server.call("/deployments/name/federated-sweep/sweep")
    made = server.call(
        f"/deployments/{deployment['id']}/create_flow_run",
        {"parameters": {"sweep": "rates.yaml"}, "state": {"type": "SCHEDULED"}},
    )
    wait(server, "the sweep's end", lambda: run_of(server, made["id"])["end_time"])
    assert run_of(server, made["id"])["state_type"] == "COMPLETED"
    assert (server.user.project / "params" / "sweep_rates.yaml").exists()


def test_a_pool_needs_a_server_and_one_name(make_user: Callable[..., Any], server: Server) -> None:
    user = make_user()
    assert "PREFECT_API_URL is not set" in user.run("fedpipe", "pool", code=2).stderr
    (user.project / "prefect.yaml").write_text("deployments: []\n")
    assert (
        "expected one work pool for all deployments, found none"
        in user.run("fedpipe", "pool", code=2, **server.settings).stderr
    )
