"""Real workers, real processes. Children write to files, never to a pipe that a worker might hold."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fedpipe.config.schema import RuntimeConfig
from fedpipe.engine.runtime import Runtime


def is_running(pid: int) -> bool:
    """Return whether a process runs; one that nobody has waited for yet (a zombie) does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def running() -> Callable[[int], bool]:
    return is_running


@pytest.fixture
def wait_until() -> Callable[..., None]:
    def wait(condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, what
            time.sleep(0.005)

    return wait


@pytest.fixture
def make_runtime(tmp_path: Path) -> Iterator[Callable[..., Runtime]]:
    """Make runtimes that are closed after the test; then none of their processes may run."""
    made: list[Runtime] = []
    before = {int(entry) for entry in os.listdir("/proc") if entry.isdigit()}

    def make(**settings: Any) -> Runtime:
        made.append(Runtime(RuntimeConfig(**settings), tmp_path / "logs" / "worker.log"))
        return made[-1]

    yield make
    for runtime in made:
        runtime.close()
    children = [
        int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    ]
    assert [pid for pid in children if pid not in before and is_running(pid)] == []


@pytest.fixture(scope="session")
def mean() -> Callable[[int], tuple[float, list[float]]]:
    """mean(n): the mean of 0..n-1 over n clients, and a server value that passes through."""
    import numpy as np
    import tensorflow_federated as tff

    @tff.federated_computation(
        tff.FederatedType(np.float32, tff.CLIENTS),
        tff.FederatedType(tff.TensorType(np.float32, [2]), tff.SERVER),
    )
    def compute(values: Any, passed: Any) -> Any:
        return tff.federated_mean(values), passed

    def call(clients: int) -> tuple[float, list[float]]:
        result, passed = compute(
            [float(i) for i in range(clients)], np.array([1.0, 2.0], np.float32)
        )
        return float(result), [float(value) for value in passed]

    return call


class Gate:
    """A computation that says when the worker is in it, and stays there until it is let go."""

    def __init__(self, directory: Path) -> None:
        import tensorflow as tf
        import tensorflow_federated as tff

        self.entered, self._open = directory / "entered", directory / "open"
        self._open.write_text("")
        entered, opened = str(self.entered), str(self._open)

        @tff.tensorflow.computation
        def stay() -> Any:
            with tf.control_dependencies([tf.io.write_file(entered, "1")]):
                return (
                    tf.while_loop(
                        lambda _: tf.equal(tf.strings.length(tf.io.read_file(opened)), 0),
                        lambda turns: [turns * 0],
                        [tf.constant(7)],
                    )[0]
                    * 0
                    + 42
                )

        self.stay: Callable[[], Any] = stay

    def open(self) -> None:
        self._open.write_text("1")


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


@pytest.fixture
def in_the_call(gate: Gate, wait_until: Callable[..., None]) -> Iterator[Callable[..., None]]:
    """Do something in another thread as soon as the worker is inside the gate's computation."""
    import threading

    threads: list[threading.Thread] = []

    def arrange(*actions: Callable[[], object]) -> None:
        def act() -> None:
            wait_until(gate.entered.exists, "the worker did not enter the computation")
            for action in actions:
                action()

        threads.append(threading.Thread(target=act))
        threads[-1].start()

    yield arrange
    for thread in threads:
        thread.join()


@pytest.fixture
def signal_workers() -> Callable[[Runtime, int], None]:
    def send(runtime: Runtime, number: int = signal.SIGKILL) -> None:
        for worker in runtime.workers:
            os.kill(worker.pid, number)

    return send
