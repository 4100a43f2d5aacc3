"""What the benchmarks share: the work, the data, the systems' processes, the machine, and how results are shown.

`systems/line.py` is the other end of `System`.
"""

import json
import os
import platform
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.lib.processes import end_group, tree, tree_memory_mb
from benchmarks.lib.systems.line import FOLDER, LINE, Job, write_job
from fedpipe.system.host import cpu_model
from fedpipe.system.resources import usable_cores

ROOT = Path(__file__).parents[2]
EXAMPLES_PER_CLIENT, BATCH_SIZE, TEST_EXAMPLES = 100, 20, 1000
START_TIMEOUT_SECONDS, ROUND_TIMEOUT_SECONDS, END_TIMEOUT_SECONDS = 180.0, 300.0, 5.0

console = Console(stderr=True)
"""Progress and tables: stdout carries the JSON alone."""


class BenchmarkError(Exception):
    """A system failed or gave another result; the benchmark's figures would mean nothing."""


@dataclass(frozen=True)
class Work:
    """One line of the comparison: a model and a cohort, 100 examples a client, batch 20, one epoch of SGD.

    Attributes:
        key: A, B or C.
        model: softmax or cnn.
        cohort: clients in each round, the same every round.
        learning_rate: step size of the clients' SGD.
    """

    key: str
    model: str
    cohort: int
    learning_rate: float

    @property
    def title(self) -> str:
        """Return what it is, for tables."""
        return f"{self.key}: {self.model}, cohort {self.cohort}"


WORKS = {
    work.key: work
    for work in (
        Work("A", "softmax", 10, 0.01),
        Work("B", "softmax", 200, 0.01),
        Work("C", "cnn", 10, 0.05),
    )
}


def make_job(model: str, cohort: int, learning_rate: float, folder: Path) -> Job:
    """Write a job's files to `folder` and return it.

    The data are the 5,000 real digits of `mnist5k`: 1,000 make the test set, each client draws its 100 from the other 4,000
    without replacement (clients may share examples: a population of 1,000 clients needs 100,000).
    """
    from fedpipe.config import Config
    from fedpipe.data.sources import SOURCES
    from fedpipe.models import build_model
    from fedpipe.seeding import generator

    config = Config.model_validate({"model": {"name": model}})
    (digits,) = SOURCES["mnist5k"](config.data, ROOT).batches()
    order = generator(1, "benchmark", "test").permutation(len(digits.y))
    test, rest = order[:TEST_EXAMPLES], order[TEST_EXAMPLES:]
    rows = np.stack(
        [
            generator(1, "benchmark", k).choice(rest, EXAMPLES_PER_CLIENT, replace=False)
            for k in range(cohort)
        ]
    )
    weights = build_model(config, digits.x.shape[1:], 10).initial_weights(1)
    job = Job(
        model,
        learning_rate,
        BATCH_SIZE,
        digits.x[rows],
        digits.y[rows],
        digits.x[test],
        digits.y[test],
        dict(weights),
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_job(folder, job)
    return job


class System:
    """One system in a process of its own, which waits while others compute.

    Its output goes to a file, and it is the leader of a process group: whatever it started (stock TFF leaves its worker
    behind) is ended with it.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        folder: Path,
        environment: "Mapping[str, str] | None" = None,
    ) -> None:
        """Start `command` in the project's folder, on the job in `folder`; `environment` is added to this process's."""
        self.name, self.log = name, folder / f"{name}.log"
        ours, theirs = socket.socketpair()
        with theirs, self.log.open("w") as log:
            variables = {
                **os.environ,
                **(environment or {}),
                FOLDER: str(folder),
                LINE: str(theirs.fileno()),
            }
            self._process = subprocess.Popen(
                list(command),
                cwd=ROOT,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._socket, self._file = ours, ours.makefile("r", encoding="utf-8")

    @property
    def pid(self) -> int:
        """Return the id of the system's process."""
        return self._process.pid

    def wait_ready(self) -> "str | None":
        """Return `None` when the system waits for its first round, or its reason why it cannot run here."""
        return self._answer("ready", START_TIMEOUT_SECONDS).get("skip")

    def rounds(self, count: int = 1, timeout: "float | None" = None) -> list[float]:
        """Run rounds and return the wall seconds of each. Raises BenchmarkError after `timeout` seconds for all of them."""
        seconds: list[float] = self._ask(
            {"do": "rounds", "count": count}, timeout or count * ROUND_TIMEOUT_SECONDS
        )["seconds"]
        return seconds

    def accuracy(self) -> float:
        """Return the current server weights' accuracy on the common test set."""
        return float(self._ask({"do": "accuracy"}, ROUND_TIMEOUT_SECONDS)["accuracy"])

    def memory_mb(self) -> float:
        """Return the memory of the system and all processes below it, in MB (see `processes.tree_memory_mb`)."""
        return tree_memory_mb(self._process.pid)

    def close(self) -> None:
        """End the system and everything it started."""
        below = tree(self._process.pid)
        try:
            self._socket.sendall(b'{"do": "end"}\n')
            self._process.wait(END_TIMEOUT_SECONDS)
        except OSError:  # it has ended
            self._process.wait()
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._file.close()
        self._socket.close()
        end_group(self._process.pid, below)  # what it started, and what was orphaned before

    def __enter__(self) -> Self:
        """Return the system, started."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def _ask(self, request: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
        except OSError as err:
            raise self._failed(f"it ended: {err}") from err
        return self._answer(request["do"], timeout)

    def _answer(self, what: str, timeout: float) -> dict[str, Any]:
        self._socket.settimeout(timeout)
        try:
            line = self._file.readline()
        except TimeoutError as err:
            raise self._failed(f"no answer to '{what}' within {timeout:g} s") from err
        if not line:
            raise self._failed(f"it ended before it answered '{what}'")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _failed(self, reason: str) -> BenchmarkError:
        said = (
            self.log.read_text(encoding="utf-8", errors="replace")
            if self.log.exists()
            else f"({self.log} is gone)"
        )
        tail = said.splitlines()[-15:]
        return BenchmarkError(f"{self.name}: {reason}. The end of its output:\n" + "\n".join(tail))


def module_command(module: str, python: str = sys.executable) -> list[str]:
    """Return the command that runs a module of `benchmarks.lib.systems` with an interpreter."""
    return [python, "-m", f"benchmarks.lib.systems.{module}"]


def machine() -> dict[str, Any]:
    """Return what the figures were taken on, and how busy it was."""
    return {
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table to stderr: the first column to the left, numbers to the right."""
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def show_json(result: Mapping[str, Any]) -> None:
    """Print the result to stdout, as one line of JSON."""
    print(json.dumps(result))
