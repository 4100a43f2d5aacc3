"""The first round and tensor that differ, and by how much, on histories small enough to check on paper."""

import numpy as np
import pytest

from fedpipe.errors import ConfigError
from fedpipe.lineage.weight_diff import (
    first_difference,
    first_difference_without_noise,
    read_history,
)


def line(number, kernel, bias):
    return {"round": number, "sha256": kernel + bias, "tensors": {"kernel": kernel, "bias": bias}}


def by_round(lines):
    return {each["round"]: each for each in lines}


RECORDED = [line(0, "k0", "b0"), line(1, "k1", "b1"), line(2, "k2", "b2")]
WEIGHTS = {
    1: (
        {"kernel": np.float32([1, 2]), "bias": np.float32([0])},
        {"kernel": np.float32([1, 2]), "bias": np.float32([0.5])},
    ),
    2: (
        {"kernel": np.float32([1, 2]), "bias": np.float32([0])},
        {"kernel": np.float32([1, 5]), "bias": np.float32([-1])},
    ),
}


def compare(found, kept=(1, 2)):
    return first_difference(by_round(RECORDED), by_round(found), kept, WEIGHTS.__getitem__)


def test_the_same_is_identical():
    assert compare(list(RECORDED)).round_num is None
    assert str(compare(list(RECORDED))) == "identical"


def test_the_first_tensor_that_differs_and_by_how_much():
    found = compare([RECORDED[0], line(1, "k1", "other"), line(2, "other", "other")])
    assert (found.round_num, found.tensors, found.max_abs, found.at_round, found.at_tensor) == (
        1,
        ("bias",),
        0.5,
        1,
        "bias",
    )
    assert (
        str(found)
        == "round 1 is the first to differ, in bias; by 0.5 at most in bias after round 1"
    )


def test_where_the_rounds_weights_are_not_kept_the_next_ones_are_measured():
    found = compare([RECORDED[0], line(1, "other", "b1"), line(2, "other", "other")], kept=(0, 2))
    assert (found.round_num, found.tensors, found.max_abs, found.at_round, found.at_tensor) == (
        1,
        ("kernel",),
        3.0,
        2,
        "kernel",
    )


def test_a_round_that_was_not_run_and_weights_that_nobody_kept():
    found = compare(RECORDED[:2], kept=())
    assert (found.round_num, found.tensors, found.max_abs) == (2, (), None)
    assert "in all: it was not run; by how much is not known" in str(found)


@pytest.mark.parametrize("other", [{"kernel": np.float32([1])}, {}])
def test_a_tensor_that_is_missing_or_has_another_shape_differs_without_limit(other):
    weights = {1: ({"kernel": np.float32([1, 2])}, other)}
    assert first_difference(
        by_round(RECORDED), by_round([RECORDED[0], line(1, "x", "b1")]), [1], weights.__getitem__
    ).max_abs == float("inf")


def test_a_history_is_read_by_round_and_an_unreadable_one_is_refused(tmp_path):
    path = tmp_path / "weights.jsonl"
    path.write_text('{"round": 0, "sha256": "a"}\n{"round": 1, "sha256": "b"}\n')
    assert {number: values["sha256"] for number, values in read_history(path).items()} == {
        0: "a",
        1: "b",
    }
    path.write_text("round,sha256\n")
    with pytest.raises(ConfigError, match="expected one line of JSON per round"):
        read_history(path)


def private(number, sha256="w", failed=(), examples=40):
    return {"round": number, "sha256": sha256, "failed": list(failed), "examples": examples}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (private(1, "other noise"), (None, ())),
        (private(0, "other start"), (0, ("sha256",))),
        (private(1, failed=["a"]), (1, ("failed",))),
        (private(1, examples=30), (1, ("examples",))),
    ],
)
def test_private_runs_are_compared_in_everything_but_the_noise(changed, expected):
    recorded = by_round([private(0), private(1)])
    difference = first_difference_without_noise(recorded, recorded | by_round([changed]))
    assert (difference.round_num, difference.tensors) == expected


def test_a_private_run_that_ended_early_differs():
    recorded = by_round([private(0), private(1)])
    difference = first_difference_without_noise(recorded, by_round([private(0)]))
    assert (difference.round_num, difference.tensors) == (1, ("failed", "examples"))
