"""Whole rounds whose worker is lost, hangs or outgrows its limit: the weights of rounds without it, to the bit."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedpipe.algorithms.aggregation import mean
from fedpipe.algorithms.recipe import Recipe, build_client_work
from fedpipe.algorithms.recipe_algorithm import RecipeAlgorithm
from fedpipe.config import Config
from fedpipe.data.resident import ResidentCache
from fedpipe.engine.loop import run_rounds
from fedpipe.engine.runtime import Runtime
from fedpipe.errors import WorkerError
from fedpipe.types import CohortPlan, RoundReport, weights_sha256

COHORT = ("one", "nineteen", "twenty", "twenty-one", "four hundred")
DETECTED_SECONDS = 5.0
TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_SECONDS


class Strike:
    """A `RoundSink` that sends the worker a signal once: after round 1, or in round 2 when that has computed for a while."""

    def __init__(self, runtime: Runtime, number: int, in_round: bool, times: int = 1) -> None:
        self._runtime, self._number, self._in_round, self._left = runtime, number, in_round, times
        self.at = 0.0

    def round_done(self, report: RoundReport) -> None:
        if report.round_num and self._left:
            self._left -= 1
            pid = self._runtime.workers[0].pid
            if self._in_round:
                threading.Thread(target=self._strike_later, args=(pid, cpu_seconds(pid))).start()
            else:
                self._strike(pid)

    def _strike_later(self, pid: int, before: float) -> None:
        while cpu_seconds(pid) < before + 0.1:
            time.sleep(0.005)
        self._strike(pid)

    def _strike(self, pid: int) -> None:
        self.at = time.time()
        os.kill(pid, self._number)


@pytest.fixture
def rounds(
    mixed_clients: Any, softmax: Any, tmp_path: Path
) -> Callable[..., tuple[str, dict[str, str]]]:
    """Run three rounds of half a second of work each with settings of `runtime`; return the weights' SHA-256 and the runtime's record."""

    def run(
        strike: Callable[[Runtime], Strike] | None = None, **settings: Any
    ) -> tuple[str, dict[str, str]]:
        config = Config.model_validate(
            {"client": {"epochs": 200, "shuffle": True}, "runtime": {"groups": 2, **settings}}
        )
        work = build_client_work(config, softmax, np.dtype(np.uint8))
        algorithm = RecipeAlgorithm(
            config,
            Recipe(work, mean()),
            ResidentCache(tmp_path, mixed_clients, ["faults"], max_bytes=10**9),
        )
        with Runtime(config.runtime, tmp_path / "worker.log") as runtime:
            runtime.start()
            sinks = [strike(runtime)] if strike else []
            done = run_rounds(
                algorithm, runtime, CohortPlan("fixed", 1, (COHORT,) * 3), lambda _: {}, 3, sinks
            )
            return weights_sha256(done.final.weights), runtime.info

    return run


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, str]:
    """Hold the weights of the rounds without a fault, once they were run."""
    return {}


FAULTS = {
    "killed between rounds": (signal.SIGKILL, False, {}),
    "killed in a round": (signal.SIGKILL, True, {}),
    "stopped in a round": (signal.SIGSTOP, True, {"round_timeout_seconds": 8.0}),
    "stopped between rounds": (signal.SIGSTOP, False, {"round_timeout_seconds": 8.0}),
}


@pytest.mark.parametrize(
    "fault", [*list(FAULTS)[:-1], pytest.param(list(FAULTS)[-1], marks=pytest.mark.slow)]
)
def test_a_round_whose_worker_is_lost_is_repeated_to_the_same_bits(
    rounds: Any, undisturbed: dict[str, str], fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    if not undisturbed:
        undisturbed["sha256"] = rounds()[0]
    number, in_round, settings = FAULTS[fault]
    strikes: list[Strike] = []

    def strike(runtime: Runtime) -> Strike:
        strikes.append(Strike(runtime, number, in_round))
        return strikes[0]

    with caplog.at_level(logging.WARNING, "fedpipe.engine"):
        sha256, info = rounds(strike, **settings)
    assert sha256 == undisturbed["sha256"]
    assert info["restarts"] == "1"
    (record,) = [record for record in caplog.records if "restart 1 of 2" in record.getMessage()]
    assert record.getMessage().startswith("round 2: ")
    assert record.created - strikes[0].at < DETECTED_SECONDS + settings.get(
        "round_timeout_seconds", 0.0
    )


def test_one_restart_too_many_is_a_clear_error(rounds: Any) -> None:
    with pytest.raises(
        WorkerError,
        match=r"^round 3: the (?:TFF worker ended|connection to the TFF worker broke) .*; runtime\.max_restarts=1 used up",
    ):
        rounds(lambda runtime: Strike(runtime, signal.SIGKILL, False, times=2), max_restarts=1)


def test_a_worker_that_outgrows_its_limit_is_replaced_and_the_bits_stay(
    rounds: Any, undisturbed: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    if not undisturbed:
        undisturbed["sha256"] = rounds()[0]
    # A worker that has run a round is larger than 64 MB: it is replaced after each.
    with caplog.at_level(logging.WARNING, "fedpipe.engine"):
        sha256, info = rounds(worker_memory_limit_mb=64, max_restarts=0)
    assert sha256 == undisturbed["sha256"]
    assert int(info["recycled"]) >= 3
    assert info["restarts"] == "0"
    (message,) = caplog.messages
    assert "over runtime.worker_memory_limit_mb=64, is replaced" in message
    assert rounds(worker_memory_limit_mb=10_000) == (sha256, info | {"recycled": "0"})
