"""A worker that is lost or hangs: the call is repeated on a new one, as often as allowed, then a clear error."""

import logging
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedpipe.engine.local import worker as worker_module
from fedpipe.engine.runtime import Runtime
from fedpipe.errors import WorkerError

Make = Callable[..., Runtime]
Mean = Callable[[int], tuple[float, list[float]]]


def test_a_worker_killed_between_calls_is_replaced(
    make_runtime: Make,
    mean: Mean,
    signal_workers: Callable[[Runtime, int], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    runtime = make_runtime()
    before = runtime.call(mean, 5, label="round 1")
    signal_workers(runtime, signal.SIGKILL)
    with caplog.at_level(logging.WARNING, "fedpipe.engine"):
        assert runtime.call(mean, 5, label="round 2") == before
    assert runtime.info["restarts"] == "1"
    assert caplog.messages[0].startswith("round 2: ")
    assert caplog.messages[0].endswith("restart 1 of 2, repeating.")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_killed_in_a_call_is_replaced(
    make_runtime: Make,
    gate: Any,
    in_the_call: Any,
    signal_workers: Callable[[Runtime, int], None],
    workers: int,
) -> None:
    runtime = make_runtime(workers=workers)
    runtime.start()
    in_the_call(lambda: signal_workers(runtime, signal.SIGKILL), gate.open)
    assert int(runtime.call(gate.stay)) == 42
    assert runtime.info["restarts"] == "1"


def test_a_worker_that_hangs_is_replaced_after_the_deadline(
    make_runtime: Make,
    mean: Mean,
    gate: Any,
    in_the_call: Any,
    signal_workers: Callable[[Runtime, int], None],
) -> None:
    runtime = make_runtime(round_timeout_seconds=3.0)
    runtime.start()
    in_the_call(lambda: signal_workers(runtime, signal.SIGSTOP), gate.open)
    assert int(runtime.call(gate.stay)) == 42
    assert runtime.info["restarts"] == "1"
    assert runtime.call(mean, 3)[0] == 1.0


def test_one_of_two_workers_lost_does_not_wait_for_the_other(
    make_runtime: Make, mean: Mean
) -> None:
    runtime = make_runtime(workers=2)
    before = runtime.call(mean, 5)
    os.kill(runtime.workers[1].pid, signal.SIGKILL)
    assert runtime.call(mean, 5) == before
    assert runtime.info["restarts"] == "1"


def test_restarts_are_capped_over_the_runtimes_life(
    make_runtime: Make, mean: Mean, signal_workers: Callable[[Runtime, int], None]
) -> None:
    runtime = make_runtime(max_restarts=1)
    for _ in range(2):
        runtime.call(mean, 3)
        signal_workers(runtime, signal.SIGKILL)
    with pytest.raises(
        WorkerError,
        match=r"round 7: the (?:TFF worker ended|connection to the TFF worker broke) .*; "
        r"runtime\.max_restarts=1 used up\. .* See .*worker\.log",
    ):
        runtime.call(mean, 3, label="round 7")
    assert runtime.workers == ()
    with pytest.raises(WorkerError, match="this TFF runtime gave up at round 7"):
        runtime.call(mean, 3, label="round 8")


def test_a_call_that_takes_too_long_names_the_setting(make_runtime: Make, gate: Any) -> None:
    runtime = make_runtime(max_restarts=0, round_timeout_seconds=1.0)
    with pytest.raises(
        WorkerError,
        match=r"round 3: did not finish within runtime\.round_timeout_seconds=1: .*; runtime\.max_restarts=0 used up\. Raise the limit",
    ):
        runtime.call(gate.stay, label="round 3")


def test_a_worker_that_cannot_start_ends_the_call_without_a_loop(
    make_runtime: Make, mean: Mean, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = tmp_path / "binary"
    binary.write_text(f"#!/bin/sh\necho started >> {tmp_path}/starts\nexit 3\n")
    binary.chmod(0o755)
    monkeypatch.setattr(worker_module, "find_binary", lambda: binary)
    runtime = make_runtime()
    with pytest.raises(WorkerError, match="ended with exit code 3 before it answered"):
        runtime.call(mean, 3)
    assert (tmp_path / "starts").read_text() == "started\n"


def test_the_callers_own_exception_passes_unchanged_and_costs_no_worker(
    make_runtime: Make, mean: Mean
) -> None:
    class Own(Exception):
        pass

    error = Own("planted")

    def fail() -> None:
        mean(2)
        raise error

    runtime = make_runtime()
    with pytest.raises(Own) as caught:
        runtime.call(fail)
    assert caught.value is error
    assert runtime.call(mean, 3)[0] == 1.0
    assert runtime.info["restarts"] == "0"


def test_a_failing_computation_is_the_callers_own_exception_too(
    make_runtime: Make, mean: Mean
) -> None:
    import grpc
    import numpy as np
    import tensorflow as tf
    import tensorflow_federated as tff

    @tff.tensorflow.computation(np.int32)
    def checked(value: Any) -> Any:
        with tf.control_dependencies([tf.debugging.assert_positive(value, "planted")]):
            return tf.identity(value)

    runtime = make_runtime()
    with pytest.raises(grpc.RpcError, match="planted"):
        runtime.call(checked, -1)
    assert runtime.call(mean, 3)[0] == 1.0
    assert runtime.info["restarts"] == "0"


def test_closing_ends_a_call_in_another_thread(
    make_runtime: Make, gate: Any, in_the_call: Any
) -> None:
    runtime = make_runtime()
    in_the_call(runtime.close)
    with pytest.raises(WorkerError, match="round 4: the TFF runtime was closed before it was done"):
        runtime.call(gate.stay, label="round 4")


def test_an_interrupted_call_leaves_no_worker_computing(
    make_runtime: Make, mean: Mean, gate: Any, in_the_call: Any, running: Callable[[int], bool]
) -> None:
    runtime = make_runtime()
    runtime.start()
    worker = runtime.workers[0]
    in_the_call(lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        runtime.call(gate.stay)
    assert not running(worker.pid)
    assert runtime.call(mean, 3)[0] == 1.0
    assert runtime.info["restarts"] == "0"
