"""The frozen values: plans that survive JSON, reports that name their figures, digests that see every bit."""

import hashlib

import numpy as np
import pytest

from fedpipe.types import CohortPlan, RoundReport, weights_sha256


def test_plan_survives_json() -> None:
    plan = CohortPlan("uniform", 7, (("a", "b"), ("b", "c/ü")))
    assert CohortPlan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize("round_num", [0, 3])
def test_plan_counts_rounds_from_one(round_num: int) -> None:
    plan = CohortPlan("fixed", 1, (("a",), ("b",)))
    assert (plan.cohort(1), plan.cohort(2)) == (("a",), ("b",))
    with pytest.raises(IndexError, match=r"outside 1\.\.2"):
        plan.cohort(round_num)


def test_report_adds_the_rounds_own_figures() -> None:
    report = RoundReport(
        2, ("a", "b", "c"), ("b",), {"train/loss": 0.5}, examples=40, seconds=0.25, weights={}
    )
    assert report.all_metrics() == {
        "train/loss": 0.5,
        "round/seconds": 0.25,
        "round/clients": 2.0,
        "round/failed": 1.0,
        "round/examples": 40.0,
    }


def test_round_zero_has_evaluation_alone() -> None:
    report = RoundReport(0, (), (), {"test/loss": 2.0}, examples=0, seconds=0.0, weights={})
    assert report.all_metrics() == {"test/loss": 2.0}


def test_weights_digest_known_answer() -> None:
    weights = {"b": np.array([1.0], np.float32)}  # 1.0 is 00 00 80 3f in little-endian float32
    assert weights_sha256(weights) == hashlib.sha256(b"b:<f4:(1,):\x00\x00\x80\x3f").hexdigest()


def test_weights_digest_sees_name_shape_order_and_last_bit() -> None:
    one = np.ones((2, 2), np.float32)
    digests = {
        weights_sha256(w)
        for w in (
            {"a": one, "b": one * 2},
            {"b": one * 2, "a": one},
            {"c": one, "b": one * 2},
            {"a": one.reshape(4), "b": one * 2},
            {"a": np.nextafter(one, np.float32(2)), "b": one * 2},
        )
    }
    assert len(digests) == 5
