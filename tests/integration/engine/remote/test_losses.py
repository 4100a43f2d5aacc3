"""Machines that are lost in mid-round: the round's result is what it would have been, and says who was lost."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from fedpipe.engine.remote import machine, machines, shares
from fedpipe.errors import WorkerError


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notice a loss sooner, and try again sooner, than a run over a real network should."""
    monkeypatch.setattr(machines, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(machine, "SILENCE_SECONDS", 5.0)
    monkeypatch.setattr(shares, "LEAST_PATIENCE_SECONDS", 1.0)


@pytest.fixture
def in_the_round(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Do something when a machine has taken a share of the current round, once; the others begin after it, so that it gets one."""

    def arrange(address: str, action: Callable[[], object]) -> None:
        take, done = shares.Shares.take, threading.Event()

        def watched(self: Any, who: str) -> int | None:
            if who != address:
                done.wait(20)
            share = take(self, who)
            if who == address and share is not None and not done.is_set():
                done.set()
                action()
            return share

        monkeypatch.setattr(shares.Shares, "take", watched)

    return arrange


def test_who_is_killed_who_loses_its_tff_worker_and_who_is_stopped_cost_a_run_nothing_but_time(
    runner: Any, start: Any, in_the_round: Any
) -> None:
    one, two, three = start(), start(), start()
    here, _ = runner.weights([], rounds=5)

    def between(round_num: int) -> None:
        if round_num == 2:
            in_the_round(two.address, lambda: two.signal(signal.SIGKILL))
        if round_num == 3:
            in_the_round(three.address, lambda: os.kill(three.tff_pid, signal.SIGKILL))
        if round_num == 5:  # since round 4 it has been tried again
            deadline = time.monotonic() + 30
            while not runner.machines.all[2].here:
                assert time.monotonic() < deadline, three.log.read_text()
                time.sleep(0.05)
            in_the_round(three.address, lambda: three.signal(signal.SIGSTOP))

    found, losses = runner.weights(
        [worker.address for worker in (one, two, three)], rounds=5, between=between
    )
    assert found == here
    assert [[loss.partition(": ")[0] for loss in lost] for lost in losses] == [
        [],
        [two.address],
        [three.address],
        [],
        [three.address],
    ]


def test_none_left_names_each_machine_with_its_reason(runner: Any, start: Any) -> None:
    only = start()

    def between(round_num: int) -> None:
        if round_num == 2:
            only.signal(signal.SIGKILL)

    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(
        WorkerError, match=f"{only.address}: nothing listens there; {nobody}: nothing listens there"
    ):
        runner.weights([only.address, nobody], between=between)
