"""Checkpoints: what is written comes back, what is damaged is passed over, what is another run's is refused."""

import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedpipe.engine.checkpoint import Checkpoints
from fedpipe.engine.server_state import flatten, restore
from fedpipe.errors import CheckpointError
from fedpipe.types import RoundReport

IDENTITY = {"settings": "a", "plan": "b", "data": "c"}


def state(fill: float) -> Any:
    """A server state with what TFF gives: nested, empty parts, scalars, several dtypes."""
    optimizer = OrderedDict(
        learning_rate=np.float32(0.1), momentum=(np.full(3, fill, np.float32), np.int64(7))
    )
    return OrderedDict(
        weights=[np.full((2, 3), fill, np.float32), np.zeros(0, np.float32)],
        optimizer=optimizer,
        aggregator=(),
    )


def report(round_num: int, accuracy: float | None = None) -> RoundReport:
    metrics = {"train/loss": 0.1 + round_num} | (
        {} if accuracy is None else {"test/accuracy": accuracy}
    )
    return RoundReport(round_num, ("c1", "c2"), ("c2",), metrics, 10, 0.25, {})


def kept(folder: Path) -> list[int]:
    return sorted(int(name.split("_")[1]) for name in os.listdir(folder))


def test_a_state_of_any_structure_comes_back(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, IDENTITY, every=1, keep=1)
    checkpoints.save(state(2.5), report(4, 0.5), last=True)
    found = Checkpoints(tmp_path, IDENTITY, every=1, keep=1).latest()
    assert found is not None
    assert (found.round_num, list(found.report.failed), found.report.metrics["train/loss"]) == (
        4,
        ["c2"],
        4.1,
    )
    back = restore(state(0), found.leaves)
    assert [
        type(back),
        type(back["weights"]),
        type(back["optimizer"]["momentum"]),
        back["aggregator"],
    ] == [OrderedDict, list, tuple, ()]
    for (name, left), right in zip(
        flatten(state(2.5)).items(), flatten(back).values(), strict=True
    ):
        assert left.dtype == right.dtype, name
        np.testing.assert_array_equal(left, right)


def test_what_was_saved_does_not_follow_the_array(tmp_path: Path) -> None:
    checkpoints, weights = Checkpoints(tmp_path, IDENTITY, every=1, keep=1), np.ones(3, np.float32)
    checkpoints.save({"w": weights}, report(1), last=False)
    weights[:] = 9
    checkpoints.flush()
    found = checkpoints.latest()
    assert found is not None
    assert found.leaves["w"].tolist() == [1, 1, 1]


def test_first_best_and_last_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, IDENTITY, every=1, keep=2)
    for number, accuracy in enumerate([0.1, 0.5, 0.9, 0.3, 0.2, 0.4]):
        checkpoints.save(state(number), report(number, accuracy), last=number == 5)
    assert kept(tmp_path) == [0, 2, 4, 5]


def test_the_best_is_known_after_a_restart(tmp_path: Path) -> None:
    first = Checkpoints(tmp_path, IDENTITY, every=1, keep=1)
    for number, accuracy in enumerate([0.1, 0.9, 0.3]):
        first.save(state(number), report(number, accuracy), last=number == 2)
    second = Checkpoints(tmp_path, IDENTITY, every=1, keep=1)
    assert second.latest() is not None
    second.save(state(3), report(3, 0.8), last=True)
    assert kept(tmp_path) == [0, 1, 3]


def test_every_second_round_and_the_last_are_saved(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, IDENTITY, every=2, keep=9)
    for number in range(6):
        checkpoints.save(state(number), report(number), last=number == 5)
    assert kept(tmp_path) == [0, 2, 4, 5]


@pytest.mark.parametrize(
    "damage", [lambda body: body[:-1], lambda body: body[:-1] + b"?", lambda _: b""]
)
def test_a_damaged_one_is_skipped_with_a_warning(
    tmp_path: Path, damage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = Checkpoints(tmp_path, IDENTITY, every=1, keep=3)
    for number in (1, 2):
        checkpoints.save(state(number), report(number), last=number == 2)
    newest = max(tmp_path.iterdir())
    newest.write_bytes(damage(newest.read_bytes()))
    found = checkpoints.latest()
    assert found is not None
    assert found.round_num == 1
    assert f"{newest}: a damaged checkpoint is skipped" in caplog.text


def test_what_a_kill_left_half_made_and_a_damaged_one_of_the_same_round_go(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, IDENTITY, every=1, keep=3)
    for number in (1, 2):
        checkpoints.save(state(number), report(number), last=number == 2)
    damaged = max(tmp_path.iterdir())
    damaged.write_bytes(b"half")
    (tmp_path / ".making-abc").write_bytes(b"half")
    again = Checkpoints(tmp_path, IDENTITY, every=1, keep=3)
    assert again.latest() is not None
    assert not (tmp_path / ".making-abc").exists()
    again.save(state(2), report(2, 0.5), last=True)
    assert kept(tmp_path) == [1, 2]
    assert not damaged.exists()


def test_none_is_none(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "nothing", IDENTITY, every=1, keep=3).latest() is None


def test_anothers_is_refused_with_the_difference(tmp_path: Path) -> None:
    Checkpoints(tmp_path, IDENTITY, every=1, keep=3).save(state(1), report(1), last=True)
    with pytest.raises(
        CheckpointError, match="expected checkpoints of this run, found others: data c then, d now"
    ):
        Checkpoints(tmp_path, IDENTITY | {"data": "d"}, every=1, keep=3).latest()


def test_another_structure_is_refused(tmp_path: Path) -> None:
    Checkpoints(tmp_path, IDENTITY, every=1, keep=3).save({"w": np.ones(3)}, report(1), last=True)
    found = Checkpoints(tmp_path, IDENTITY, every=1, keep=3).latest()
    assert found is not None
    with pytest.raises(CheckpointError, match=r"expected float32\[3\] at 'w', found float64\[3\]"):
        restore({"w": np.ones(3, np.float32)}, found.leaves)


def test_a_save_that_failed_stops_the_run_at_the_next(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    checkpoints = Checkpoints(tmp_path / "file", IDENTITY, every=1, keep=3)
    checkpoints.save(state(1), report(1), last=False)
    with pytest.raises(CheckpointError, match="expected to write the checkpoint of round 1"):
        checkpoints.save(state(2), report(2), last=False)


def test_what_an_aggregator_keeps_may_grow_by_rows_alone() -> None:
    levels = {"aggregator": [np.zeros((3, 2), np.float32)], "weights": [np.zeros(2, np.float32)]}
    template = {"aggregator": [np.zeros((1, 2), np.float32)], "weights": [np.zeros(2, np.float32)]}
    assert restore(template, flatten(levels))["aggregator"][0].shape == (3, 2)
    wider = levels | {"aggregator": [np.zeros((3, 4), np.float32)]}
    longer = levels | {"weights": [np.zeros(3, np.float32)]}
    for state in (wider, longer):
        with pytest.raises(
            CheckpointError, match=r"expected float32\[., ?2\]|expected float32\[2\]"
        ):
            restore(template, flatten(state))
