"""A run over real `fedpipe worker` processes on 127.0.0.1, each with a project and a copy of the data of its own."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fedpipe.cluster.certificates import make_certificates
from fedpipe.cluster.machines import machines_of
from fedpipe.config import Config, DataConfig
from fedpipe.data.digest import dvc_md5
from fedpipe.data.population import Population
from fedpipe.data.prepare import prepare_shards
from fedpipe.project.paths import Project

CLIENTS, GROUPS = 12, 5
DATA = {"source": "mnist5k", "partition": "quantity", "clients": CLIENTS}


class WorkerProcess:
    """A `fedpipe worker`, started in a project of its own."""

    def __init__(self, folder: Path, certificates: Path, listen: str = "127.0.0.1:0") -> None:
        self.folder, self.log = folder, folder / "log"
        command = [
            sys.executable,
            "-m",
            "fedpipe",
            "worker",
            "--listen",
            listen,
            "--certs",
            str(certificates),
        ]
        environment = os.environ | {"PYTHONFAULTHANDLER": "1"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        assert "listening on " in line, self.log.read_text()
        self.address = line.split("listening on ")[1].strip()

    @property
    def tff_pid(self) -> int:
        """Return the process of its TFF worker."""
        supervisor = _children(self.process.pid)[0]
        return _children(supervisor)[0]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)  # it says where its threads are
            self.process.wait(20)
            pytest.fail(f"a worker does not end: {self.log.read_text()}")
        assert self.process.stdout is not None
        self.process.stdout.close()


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sorted(int(child) for task in tasks for child in (task / "children").read_text().split())


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of small shards."""
    folder = tmp_path_factory.mktemp("data") / "shards"
    prepare_shards(DataConfig.model_validate(DATA), folder, folder.parent)
    return folder


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certs") / "certs"
    make_certificates(folder, [], days=1)
    return folder


@pytest.fixture(scope="session")
def start(
    tmp_path_factory: pytest.TempPathFactory, certificates: Path, data: Path
) -> Iterator[Callable[..., WorkerProcess]]:
    """Return a function that starts a worker with a copy of the data."""
    stack = ExitStack()

    def make(certs: Path = certificates, with_data: bool = True, **named: Any) -> WorkerProcess:
        folder = tmp_path_factory.mktemp("machine")
        (folder / "params.yaml").write_text("seed: 1\n")
        if with_data:
            shutil.copytree(data, folder / "data" / "shards")
        worker = WorkerProcess(folder, certs, **named)
        stack.callback(worker.stop)
        return worker

    with stack:
        yield make


@pytest.fixture(scope="session")
def three(start: Callable[..., WorkerProcess]) -> list[WorkerProcess]:
    """Return three workers that every test leaves as they were, the last at an IPv6 address where there are some."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        other = "[::1]:0"
    except OSError:
        other = "127.0.0.1:0"
    return [start(), start(), start(listen=other)]


class Runner:
    """The run's side, in this process."""

    def __init__(self, folder: Path, data: Path, certificates: Path) -> None:
        self.project, self.data = Project(folder), data
        (folder / "certs").symlink_to(certificates)
        self.population = Population.open(data)
        self.machines: Any = None  # of the run that was opened last

    def config(self, remote: list[str], **settings: Any) -> Config:
        runtime = {"groups": GROUPS, "remote": remote} | settings.pop("runtime", {})
        values = {
            "data": DATA,
            "cohort": {"size": CLIENTS},
            "client": {"learning_rate": 0.1, "max_steps": 4},
            "runtime": runtime,
        }
        return Config.model_validate(values | settings)

    def open(self, config: Config, name: str = "test") -> tuple[Any, Any]:
        """Return the algorithm, and a runtime that uses the machines; nothing is connected yet."""
        from fedpipe.algorithms.catalog import build_algorithm
        from fedpipe.engine.runtime import Runtime
        from fedpipe.models import build_model

        manifest = self.population.manifest
        model = build_model(config, tuple(manifest.feature_shape), manifest.num_classes)
        algorithm = build_algorithm(config, model, self.population, self.project.client_cache)
        runtime = Runtime(config.runtime, self.project.root / "worker.log")
        machines = machines_of(config.runtime, self.project, name, dvc_md5(self.data))
        if machines is not None:
            runtime.attach(machines)
        self.machines = machines
        return algorithm, runtime

    def weights(
        self,
        remote: list[str],
        rounds: int = 2,
        between: Callable[[int], None] | None = None,
        **settings: Any,
    ) -> tuple[Any, Any]:
        """Return the weights' SHA-256 after some rounds, and every round's losses; `between` is called before each round."""
        from fedpipe.types import weights_sha256

        algorithm, runtime = self.open(self.config(remote, **settings))
        losses = []
        with runtime:
            state = runtime.call(algorithm.initialize)
            for number in range(1, rounds + 1):
                if between is not None:
                    between(number)
                cohort = tuple(self.population.participating())
                state = runtime.call(
                    algorithm.next, state, number, cohort, label=f"round {number}"
                ).state
                losses.append(runtime.take_losses())
            return weights_sha256(algorithm.weights(state)), losses


@pytest.fixture
def runner(tmp_path: Path, data: Path, certificates: Path) -> Runner:
    return Runner(tmp_path, data, certificates)
