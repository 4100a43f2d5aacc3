"""Machines that are lost in mid-round: the round's result is what it would have been, and says who was lost."""

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from fedpipe.engine import machine, machines, shares
from fedpipe.errors import WorkerError


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notice a loss sooner, and try again sooner, than a run over a real network should."""
    monkeypatch.setattr(machines, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(machine, "SILENCE_SECONDS", 4.0)
    monkeypatch.setattr(shares, "LEAST_PATIENCE_SECONDS", 1.0)


@pytest.fixture
def in_the_round(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Do something when a machine has taken a share of the current round, once."""

    def arrange(address: str, action: Callable[[], object]) -> None:
        take, done = shares.Shares.take, threading.Event()

        def watched(self: Any, who: str) -> int | None:
            share = take(self, who)
            if who == address and share is not None and not done.is_set():
                done.set()
                action()
            return share

        monkeypatch.setattr(shares.Shares, "take", watched)

    return arrange


def test_a_killed_and_a_stopped_worker_cost_a_round_nothing_but_time(runner: Any, start: Any, in_the_round: Any) -> None:
    one, two, three = start(), start(), start()
    here, _ = runner.weights([], rounds=3)
    fates = {2: (two, signal.SIGKILL), 3: (three, signal.SIGSTOP)}

    def between(round_num: int) -> None:
        if round_num in fates:
            worker, number = fates[round_num]
            in_the_round(worker.address, lambda: worker.signal(number))

    found, losses = runner.weights([worker.address for worker in (one, two, three)], rounds=3, between=between)
    assert found == here
    assert losses[0] == ()
    assert [loss.partition(": ")[0] for loss in losses[1]] == [two.address]
    assert three.address in [loss.partition(": ")[0] for loss in losses[2]]


def test_a_tff_worker_that_dies_is_replaced_and_its_machine_joins_again(runner: Any, start: Any, in_the_round: Any) -> None:
    one, two = start(), start()
    here, _ = runner.weights([], rounds=4)

    def between(round_num: int) -> None:
        if round_num == 2:
            in_the_round(two.address, lambda: os.kill(two.tff_pid, signal.SIGKILL))
        if round_num == 4:
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline and "begins" not in two.log.read_text().partition("is over")[2]:
                time.sleep(0.05)

    found, losses = runner.weights([one.address, two.address], rounds=4, between=between)
    assert found == here
    assert [len(lost) for lost in losses] == [0, 1, 0, 0]
    assert losses[1][0].startswith(f"{two.address}: ")


def test_none_left_names_each_machine(runner: Any, start: Any) -> None:
    one, two = start(), start()

    def between(round_num: int) -> None:
        if round_num == 2:
            one.signal(signal.SIGKILL)
            two.signal(signal.SIGKILL)

    with pytest.raises(WorkerError, match=f"{one.address}: nothing listens there; {two.address}: nothing listens there"):
        runner.weights([one.address, two.address], between=between)
