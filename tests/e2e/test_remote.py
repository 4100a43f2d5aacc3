"""A user with two more machines: certificates, data through DVC's remote, a run, all machines lost, resume, reproduce."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
SETTINGS = ["-S", "rounds=150", "-S", "runtime.groups=4", "-S", "client.learning_rate=0.05"]


@pytest.fixture
def machines(
    make_user: Callable[..., Any], tmp_path: Path
) -> Iterator[tuple[Any, list[Any], Callable[[Any], str]]]:
    """Return a user whose data are in a DVC remote, two clones elsewhere, and a function that starts a worker in one."""
    person = make_user()
    person.run("dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    person.run("dvc", "repro", "--quiet", "prepare")
    identity = ["-c", "user.name=Tester", "-c", "user.email=tester@example.org"]
    person.run("git", *identity, "commit", "--all", "--quiet", "--message", "A remote")
    person.run("dvc", "push", "--quiet")
    person.run("fedpipe", "worker", "certs", "certs", "--days", "2")
    started: list[subprocess.Popen[bytes]] = []
    clones = []
    for number in range(2):
        clone = tmp_path / f"machine{number}"
        person.run("git", "clone", "--quiet", str(person.project), str(clone))
        (clone / "certs").symlink_to(person.project / "certs")
        clones.append(clone)

    def start(clone: Path) -> tuple[str, Any]:
        with (clone / "log").open("ab") as log:
            process = subprocess.Popen(
                ["fedpipe", "worker", "--listen", "127.0.0.1:0"],
                cwd=clone,
                env=person.environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        started.append(process)
        assert process.stdout is not None
        return process.stdout.readline().decode().split("listening on ")[1].strip(), process

    yield person, clones, start  # type: ignore[misc]
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_a_run_over_two_machines_that_both_die_goes_on_and_can_be_reproduced_on_one(
    machines: Any,
) -> None:
    person, clones, start = machines
    plain = person.train("--name", "plain", *SETTINGS)
    (first, one), (second, two) = (start(clone) for clone in clones)
    command = [
        "fedpipe",
        "run",
        "--json",
        "--name",
        "spread",
        *SETTINGS,
        "-S",
        "runtime.max_restarts=0",
    ]
    with (person.home / "spread").open("w") as log:
        command += ["-S", f"runtime.remote=[{first},{second}]"]
        run = subprocess.Popen(
            command,
            cwd=person.project,
            env=person.environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        rounds = person.project / ".fedpipe" / "runs" / "spread" / "rounds.jsonl"
        deadline = time.monotonic() + 250
        while not rounds.exists() or len(rounds.read_text().splitlines()) < 4:
            assert run.poll() is None, (person.home / "spread").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for process in (one, two):
            os.kill(process.pid, signal.SIGKILL)
        assert run.wait(100) == 2
    said = (person.home / "spread").read_text()
    assert f"{first}: " in said
    assert f"{second}: " in said
    assert "Traceback" not in said
    assert all((clone / "data" / "shards" / "manifest.json").exists() for clone in clones), (
        "pulled from the DVC remote"
    )
    third, _ = start(clones[0])
    summary = json.loads(
        person.run("fedpipe", "resume", "spread", "--json", "--remote", third).stdout.splitlines()[
            -1
        ]
    )
    assert summary["weights_sha256"] == plain["weights_sha256"]
    result = json.loads(
        person.run("fedpipe", "reproduce", "spread", "--json").stdout.splitlines()[-1]
    )
    assert result["result"] == "identical"
