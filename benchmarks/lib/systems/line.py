"""A system's end of the line to the benchmark: what to train, when to run a round, how long it took.

Each system is a program in a process of its own, asked for rounds in turn, so that one alone computes at any time. This
module imports the standard library and NumPy alone: systems run in other projects' interpreters too.

    job, line = read_job(), Line()
    ... build, put the data where the system wants it ...
    while True:
        line.step(accuracy)     # waits for the next round to begin; ends the process when there are no more
        ... one round ...
"""

import json
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

FOLDER, LINE = "BENCHMARK_FOLDER", "BENCHMARK_LINE"
"""Environment variables: folder with the job's files, number of the inherited socket."""


@dataclass(frozen=True)
class Job:
    """What every system is given.

    Attributes:
        model: `softmax` (784 to 10, logits = x W + b) or `cnn` (McMahan et al. 2017; channels last, kernels [5, 5, in, out]).
        learning_rate: step size of the clients' SGD; the server takes the mean of the clients' weights.
        batch_size: examples per step; one epoch a round, in the order given.
        x: uint8 [clients, examples, 28, 28]; the model sees x / 255.
        y: int32 [clients, examples].
        test_x: uint8 [n, 28, 28], the common test set.
        test_y: int32 [n].
        weights: initial float32 weights by name, in the model's order.
    """

    model: str
    learning_rate: float
    batch_size: int
    x: Any
    y: Any
    test_x: Any
    test_y: Any
    weights: dict[str, Any]


def write_job(folder: Path, job: Job) -> None:
    """Write a job for `read_job`."""
    settings = {
        "model": job.model,
        "learning_rate": job.learning_rate,
        "batch_size": job.batch_size,
        "names": list(job.weights),
    }
    (folder / "job.json").write_text(json.dumps(settings), encoding="utf-8")
    np.savez(folder / "data.npz", x=job.x, y=job.y, test_x=job.test_x, test_y=job.test_y)
    np.savez(folder / "weights.npz", *job.weights.values())


def read_job(folder: "Path | None" = None) -> Job:
    """Return the job in `folder`, or in the one that the environment names."""
    folder = folder or Path(os.environ[FOLDER])
    settings = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    names = settings.pop("names")
    with np.load(folder / "data.npz") as data, np.load(folder / "weights.npz") as tensors:
        weights = {name: tensors[f"arr_{i}"] for i, name in enumerate(names)}
        return Job(**settings, **{name: data[name] for name in data.files}, weights=weights)


class Line:
    """The connection to the benchmark."""

    def __init__(self) -> None:
        """Take over the inherited socket, and watch it: a benchmark that was killed leaves no system behind."""
        self._socket = socket.socket(fileno=int(os.environ[LINE]))
        threading.Thread(target=self._end_with_benchmark, daemon=True).start()
        self._file = self._socket.makefile("r", encoding="utf-8")
        self._left, self._seconds, self._started, self._greeted = 0, [0.0][:0], 0.0, False

    def step(self, accuracy: Callable[[], float]) -> None:
        """Report the round that was going on, if any, and return when the next one is to begin.

        The clock of a round runs from the return of this function to its next call, so call it as soon as the new server
        weights are there.

        Args:
            accuracy: returns the server's current accuracy on the common test set, a fraction; its time is not counted.
        """
        now = time.perf_counter()
        if self._left:
            self._seconds.append(now - self._started)
            self._left -= 1
            if not self._left:
                self._send({"seconds": self._seconds})
        elif not self._greeted:
            self._greeted = True
            self._send({"ready": True})
        while not self._left:
            request = json.loads(
                self._file.readline() or '{"do": "end"}'
            )  # empty: the benchmark is gone
            if request["do"] == "rounds":
                self._left, self._seconds = request["count"], []
            elif request["do"] == "accuracy":
                self._send({"accuracy": float(accuracy())})
            else:
                self._end()
        self._started = time.perf_counter()

    def skip(self, reason: str) -> NoReturn:
        """Say why this system cannot run here, and end."""
        self._send({"skip": reason})
        self._end()

    def _send(self, message: dict[str, Any]) -> None:
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def _end_with_benchmark(self) -> None:
        """End this process and what it started, in the middle of a round too, when the other end of the line is closed."""
        poll = select.poll()
        poll.register(self._socket, select.POLLRDHUP)
        poll.poll()
        os.killpg(
            os.getpgrp(), signal.SIGKILL
        )  # the benchmark made this process the leader of a group

    def _end(self) -> NoReturn:
        raise SystemExit(0)
