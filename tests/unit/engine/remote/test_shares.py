"""How a round's shares are handed out, given again, and gathered. Threads, no network."""

import threading
import time

import pytest

from fedpipe.engine.remote.shares import DeadlineError, NoMachineLeftError, Shares


def test_results_come_in_the_order_of_the_shares_whoever_is_done_first() -> None:
    shares: Shares[str] = Shares(3)
    shares.join("a")
    taken = [shares.take("a") for _ in range(3)]
    for share in reversed(taken):
        shares.finish("a", share, f"result {share}")  # type: ignore[arg-type]
    assert taken == [0, 1, 2]
    assert list(shares.in_order(None)) == ["result 0", "result 1", "result 2"]
    assert shares.take("a") is None


def test_what_a_lost_machine_had_goes_to_the_others_first() -> None:
    shares: Shares[int] = Shares(4)
    for machine in "ab":
        shares.join(machine)
    assert [shares.take("a"), shares.take("b"), shares.take("a")] == [0, 1, 2]
    shares.drop("a", "gone")
    shares.drop("a", "a second reason, which does not count")
    assert [shares.take("b") for _ in range(3)] == [0, 2, 3]
    assert shares.take("a") is None
    assert shares.lost == {"a": "gone"}


def test_a_share_that_takes_too_long_is_given_to_who_has_nothing_to_do() -> None:
    shares: Shares[str] = Shares(1, least_patience=0.05)
    shares.join("slow")
    shares.join("idle")
    assert shares.take("slow") == 0
    start = time.monotonic()
    assert shares.take("idle") == 0
    assert time.monotonic() - start >= 0.05
    shares.finish("idle", 0, "first")
    shares.finish("slow", 0, "second")
    assert list(shares.in_order(None)) == ["first"]
    assert shares.done_by == {"idle": 1}


def test_who_is_late_is_known_when_all_is_done() -> None:
    shares: Shares[str] = Shares(1, least_patience=0.0)
    shares.join("slow")
    shares.join("idle")
    assert [shares.take("slow"), shares.take("idle")] == [0, 0]
    shares.finish("idle", 0, "done")
    assert list(shares.late()) == ["slow"]


def test_nobody_left_and_no_time_left() -> None:
    shares: Shares[int] = Shares(2)
    shares.join("a")
    assert shares.take("a") == 0
    with pytest.raises(DeadlineError):
        next(shares.in_order(time.monotonic() - 1))
    shares.drop("a", "gone")
    with pytest.raises(NoMachineLeftError):
        next(shares.in_order(None))


def test_an_error_ends_the_round_for_everyone() -> None:
    shares: Shares[int] = Shares(2)
    shares.join("a")
    shares.join("b")
    assert shares.take("a") == 0
    shares.fail(ValueError("wrong everywhere"))
    assert shares.take("b") is None
    with pytest.raises(ValueError, match="wrong everywhere"):
        next(shares.in_order(None))


@pytest.mark.parametrize("machines", [1, 2, 5])
def test_machines_that_come_and_go_lose_no_share(machines: int) -> None:
    shares: Shares[int] = Shares(40)
    names = [f"m{number}" for number in range(machines)]

    def work(name: str) -> None:
        while (share := shares.take(name)) is not None:
            if name != "m0" and share % 7 == 3:
                shares.drop(name, "fell over")
            else:
                shares.finish(name, share, share * share)

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for name in names:
        shares.join(name)
    for thread in threads:
        thread.start()
    assert list(shares.in_order(time.monotonic() + 20)) == [share * share for share in range(40)]
    for thread in threads:
        thread.join(20)
    assert "m0" not in shares.lost
