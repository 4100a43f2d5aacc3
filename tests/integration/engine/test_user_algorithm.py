"""An algorithm of the user's own that calls TFF computations: they run on the run's worker; elsewhere they are refused, and no stock
worker is started."""

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from fedpipe.algorithms.base import RoundResult
from fedpipe.engine.local.call_deadline import WorkerLostError
from fedpipe.engine.user_algorithm import UserAlgorithm
from fedpipe.errors import ConfigError, RoundError
from fedpipe.system.user_code import import_own

MODULE = """
import numpy as np
import tensorflow_federated as tff

tff.backends.native.set_sync_local_cpp_execution_context()  # as scripts for TFF have it

@tff.tensorflow.computation(np.float32)
def double(x):
    return x * 2

class Mine:
    def __init__(self):
        self.scale = float(double(1.0))

    @property
    def info(self):
        return {"scale": str(double(self.scale))}

    def initialize(self):
        return double(1.0)

    def expect(self, cohort):
        double(1.0)

    def next(self, state, round_num, cohort):
        if round_num == 7:
            raise KeyError("no such client")
        return RoundResult(double(state), {}, 1) if round_num < 9 else None

    def weights(self, state):
        return {"w": np.asarray(double(state), np.float32)}

def build():
    from fedpipe.algorithms.base import RoundResult
    globals()["RoundResult"] = RoundResult
    return Mine()
"""


def workers() -> set[int]:
    """TFF's workers that this process or its children started."""
    return {
        process.pid
        for process in psutil.Process().children(recursive=True)
        if process.name().startswith("worker_binary")
    }


@pytest.fixture
def build(tmp_path: Path) -> Any:
    (tmp_path / "mine_with_tff.py").write_text(textwrap.dedent(MODULE))
    return import_own("mine_with_tff:build", tmp_path, "algorithm.name", ConfigError)


def test_all_of_it_runs_on_the_runs_worker(build: Any, tff_runtime: Any) -> None:
    tff_runtime.call(lambda: None)
    before = workers()
    algorithm = UserAlgorithm.build("mine_with_tff:build", tff_runtime, build)
    assert algorithm.info == {"scale": "4.0"}
    state = algorithm.initialize()
    algorithm.expect(("a",))
    result = tff_runtime.call(
        algorithm.next, state, 1, ("a",), label="round 1"
    )  # as the loop calls it
    assert isinstance(result, RoundResult)
    np.testing.assert_array_equal(
        algorithm.weights(result.state)["w"], np.float32(8)
    )  # 1 doubled three times
    with pytest.raises(
        RoundError,
        match=r"algorithm\.name=mine_with_tff:build: KeyError: 'no such client', in \S*mine_with_tff\.py:\d+: ",
    ):
        algorithm.next(state, 7, ("a",))
    with pytest.raises(
        RoundError, match="expected next to return a RoundResult of fedpipe, found NoneType"
    ):
        algorithm.next(state, 9, ("a",))
    assert workers() <= before


def test_outside_of_the_runtime_it_is_one_error_and_no_worker_is_started(build: Any) -> None:
    before = workers()
    with pytest.raises(
        ConfigError,
        match=r"TFF computation was called outside of fedpipe's runtime in \S*mine_with_tff\.py:\d+: `self\.scale = ",
    ):
        build()
    assert workers() <= before


def test_a_lost_worker_is_left_to_the_runtime() -> None:
    class Losing:
        def call(self, fn: Any, *args: Any, label: str) -> Any:  # noqa: ARG002 - the signature of a runtime
            if fn is losing:
                raise WorkerLostError("gone")
            return fn(*args)

    class Inner:
        def weights(self, _state: Any) -> Any:
            return 3

    inner: Any = Inner()
    losing = inner.initialize = lambda: None
    algorithm = UserAlgorithm.build("mine:build", Losing(), lambda: inner)
    with pytest.raises(WorkerLostError):
        algorithm.initialize()
    with pytest.raises(
        RoundError, match="expected weights to return a mapping of tensors by name, found int"
    ):
        algorithm.weights(None)
