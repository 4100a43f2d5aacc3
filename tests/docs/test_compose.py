"""`compose.yaml`, as far as it can be checked without a container engine: names, health checks, secrets, commands."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "compose.yaml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
KEYS = {
    "image",
    "build",
    "command",
    "environment",
    "depends_on",
    "healthcheck",
    "ports",
    "volumes",
    "configs",
    "restart",
    "init",
    "deploy",
}
EXAMPLE = dict(
    line.split("=", 1)
    for line in (ROOT / ".env.example").read_text().splitlines()
    if "=" in line and not line.startswith("#")
)
SECRETS = {"PGPASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


def test_the_services_of_a_team_are_there_with_two_workers() -> None:
    assert {"postgres", "s3", "mlflow", "prefect", "worker"} <= set(SERVICES)
    assert SERVICES["worker"]["deploy"]["replicas"] == 2
    assert set(COMPOSE) == {"name", "services", "volumes", "configs"} | {
        key for key in COMPOSE if key.startswith("x-")
    }
    for name, service in SERVICES.items():
        assert set(service) <= KEYS, name
        assert "image" in service or "build" in service, name
        for one in service.get("volumes", []):
            assert one.split(":")[0] in COMPOSE["volumes"]
        for one in service.get("configs", []):
            assert one["source"] in COMPOSE["configs"]


def test_each_waits_for_what_it_needs_and_says_when_it_is_there() -> None:
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert SERVICES[other]["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), (
                    f"{name} waits for {other}"
                )
            else:
                assert how == {"condition": "service_completed_successfully"}
                assert "restart" not in SERVICES[other], f"{other} comes to its end"


def test_no_secret_is_in_the_file_and_an_empty_one_stops_it() -> None:
    variables = set(re.findall(r"\$\{(\w+)", TEXT))
    assert variables <= set(EXAMPLE)
    for name in SECRETS:
        assert EXAMPLE[name] == ""
        used = re.findall(rf"\$\{{{name}([^}}]*)\}}", TEXT)
        assert used
        assert set(used) == {f":?set {name} in .env"}
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|KEY", name):
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), name


def test_nothing_is_offered_to_other_machines() -> None:
    ports = [one for service in SERVICES.values() for one in service.get("ports", [])]
    assert ports
    assert all(one.startswith("127.0.0.1:") for one in ports)


@pytest.mark.parametrize("name", ["prefect", "worker", "pool"])
def test_commands_are_known_to_prefect(name: str) -> None:
    from prefect.cli import _app

    command = SERVICES[name]["command"]
    lines = (
        [command]
        if command[0] == "prefect"
        else [shlex.split(line) for line in command[-1].splitlines()]
    )
    for program, *words in lines:
        if program == "fedpipe":
            assert words[0] == "pool"
            continue
        assert program == "prefect"
        _app._app.parse_args(words, exit_on_error=False, print_error=False)


def test_commands_are_known_to_mlflow_and_the_python_is_python() -> None:
    from mlflow.cli import server

    program, name, *words = SERVICES["mlflow"]["command"]
    assert (program, name) == ("mlflow", "server")
    found = server.make_context("server", list(words)).params
    assert (found["backend_store_uri"], found["artifacts_destination"]) == (
        "postgresql:///mlflow",
        "s3://fedpipe/mlflow",
    )
    for command in [
        SERVICES["bucket"]["command"],
        *(s["healthcheck"]["test"][1:] for s in SERVICES.values() if "healthcheck" in s),
    ]:
        if command[:2] == ["python", "-c"]:
            compile(command[2], "compose.yaml", "exec")
