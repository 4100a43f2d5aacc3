"""Faults made for real in runs of a scratch clone: nothing is lost, doubled or left behind, and the weights are those of an undisturbed run.

Two of them in each run of the tests, all of them with `-m slow`. The cases are in `tests/e2e/faults/`, one file per kind.
"""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.faults.cancel import cancelled
from tests.e2e.faults.clients import failing_clients
from tests.e2e.faults.clone import Clone, Outcome
from tests.e2e.faults.disks import artifacts_full, checkpoints_full, shards_full
from tests.e2e.faults.kills import killed, told_to_end
from tests.e2e.faults.machine import (
    NotHere,
    clock_jumps,
    damaged_client_file,
    no_network,
    read_only_home,
)
from tests.e2e.faults.stock import stock_faults
from tests.e2e.faults.stores import database_locked, five_at_once, server_away, server_gone
from tests.e2e.faults.workers import FAULTS, worker_fault, worker_then_run

KILLS = 20
SEED = 1
"""Of the moments at which the run is killed."""
AWAY_SECONDS = 60.0
SHORT_ROUNDS = 10

CASES: dict[str, Callable[[Clone, Path], Outcome]] = {
    "SIGINT": lambda clone, _: told_to_end(clone, signal.SIGINT),
    "SIGTERM": lambda clone, _: told_to_end(clone, signal.SIGTERM),
    "cancelled in Prefect": cancelled,
    "worker killed between rounds": lambda clone, _: worker_fault(clone, FAULTS[0]),
    "worker killed in a round": lambda clone, _: worker_fault(clone, FAULTS[1]),
    "worker SIGSTOP": lambda clone, _: worker_fault(clone, FAULTS[2]),
    "server away": lambda clone, folder: server_away(clone, folder, AWAY_SECONDS),
    "server gone": server_gone,
    "database locked": lambda clone, _: database_locked(clone),
    "five at once": five_at_once,
    "checkpoints full": lambda clone, _: checkpoints_full(clone),
    "artifacts full": lambda clone, _: artifacts_full(clone),
    "shards full": lambda clone, _: shards_full(clone),
    "failing clients": lambda clone, _: failing_clients(clone),
    "damaged client file": lambda clone, _: damaged_client_file(clone),
    "no network": lambda clone, _: no_network(clone),
    "read-only home": read_only_home,
    "clock jumps": clock_jumps,
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Return a clone that knows the summary of the undisturbed run."""
    clone = Clone(tmp_path_factory.mktemp("faults") / "clone")
    clone.undisturbed()
    return clone


def assert_nothing_is_lost(outcome: Outcome) -> None:
    assert outcome.survived, f"{outcome.fault}: {outcome.note}"
    assert outcome.weights_equal
    assert (outcome.steps_lost, outcome.steps_doubled, outcome.orphans) == (0, 0, 0)


def test_a_worker_and_then_the_whole_run_are_killed_and_nothing_is_lost(tmp_path: Path) -> None:
    outcomes = worker_then_run(Clone(tmp_path / "clone", SHORT_ROUNDS))
    assert [outcome.fault for outcome in outcomes] == [
        "worker killed in a round",
        "SIGKILL of the run in a round",
    ]
    for outcome in outcomes:
        assert_nothing_is_lost(outcome)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_run_that_is_killed_in_any_of_its_phases_loses_nothing(clone: Clone) -> None:
    outcomes = list(killed(clone, KILLS, SEED))
    assert len(outcomes) == KILLS
    for outcome in outcomes:
        assert_nothing_is_lost(outcome)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("case", CASES)
def test_a_fault_is_survived(case: str, clone: Clone, tmp_path: Path) -> None:
    try:
        outcome = CASES[case](clone, tmp_path / "scratch")
    except NotHere as err:
        pytest.skip(f"needs rights or programs that are not here: {err}")
    assert_nothing_is_lost(outcome)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_stock_tff_does_on_the_faults_of_a_worker(tmp_path: Path) -> None:
    stock = stock_faults(tmp_path)
    assert tuple(stock) == FAULTS
    assert all(set(outcome) == {"survived", "seconds", "note"} for outcome in stock.values())
