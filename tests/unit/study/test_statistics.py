"""Intervals and tests against known values; false alarms of studies of nothing; a planted difference is found."""

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import ttest_rel

from fedpipe.study.statistics import corrected, difference, mean_ranks, summarize

STUDIES = 200


def test_a_summary_is_that_of_students_t() -> None:
    # Scores of Student (1908), the hours of sleep of ten patients: mean 1.58, interval 0.70 to 2.46.
    gained = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
    found = summarize(gained)
    assert found.mean == pytest.approx(1.58)
    assert found.std == pytest.approx(1.230, abs=1e-3)
    assert found.ci95 == pytest.approx((0.70, 2.46), abs=5e-3)
    assert summarize([0.5]).ci95 is None


def test_the_interval_of_a_difference_is_that_of_the_paired_t_test() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.1, 1, 10), rng.normal(0, 1, 10)
    expected = ttest_rel(a, b)
    found = difference(a.tolist(), b.tolist())
    pairs = a - b
    half = 2.2621571628540993 * pairs.std(ddof=1) / np.sqrt(10)  # t of 9 degrees of freedom
    assert found.ci95 == pytest.approx((pairs.mean() - half, pairs.mean() + half))
    assert found.p == pytest.approx(expected.pvalue, abs=0.05)


def test_the_exact_test_counts_all_signs() -> None:
    pairs = np.array([0.3, -0.1, 0.2, 0.5, 0.4])
    signs = np.array(list(itertools.product((1, -1), repeat=5)))
    means = (signs * pairs).mean(axis=1)
    expected = np.mean(np.abs(means) >= abs(pairs.mean()) - 1e-12)
    assert difference(pairs.tolist(), [0.0] * 5).p == pytest.approx(expected)


def test_equal_arms_show_no_difference() -> None:
    found = difference([0.5, 0.6, 0.7], [0.5, 0.6, 0.7])
    assert (found.mean, found.p, found.effect_size, found.detectable) == (0.0, 1.0, None, 0.0)


def test_two_seeds_carry_no_test() -> None:
    with pytest.raises(ValueError, match="expected 3 pairs or more, found 2 and 2"):
        difference([1, 2], [1, 2])


def test_holm_corrects_as_by_hand() -> None:
    assert corrected([0.005, 0.04, 0.02]) == pytest.approx([0.015, 0.04, 0.04])
    assert corrected([]) == []


RATES = f"""
import json
import numpy as np
from fedpipe.study.statistics import corrected, difference

rng = np.random.default_rng(7)
seeds, conditions, alarms = 10, 3, 0
for _ in range({STUDIES}):
    level = rng.normal(0, 0.05, (conditions, seeds))
    arms = [level + rng.normal(0, 0.01, (conditions, seeds)) for _ in range(2)]
    p = [difference(a, b).p for a, b in zip(*arms, strict=True)]
    alarms += min(corrected(p)) < 0.05
none = [0.0] * seeds
planted = np.mean([difference(rng.normal(0, 1, seeds), none).detectable for _ in range(100)])
hits = [difference(rng.normal(planted, 1, seeds), none).p < 0.05 for _ in range({STUDIES})]
print(json.dumps([int(alarms), int(sum(hits))]))
"""


def test_nothing_alarms_in_five_per_cent_and_what_is_detectable_is_found() -> None:
    # In a process of its own: beside TensorFlow's graphs Python collects garbage for minutes.
    done = subprocess.run(
        [sys.executable, "-c", RATES], capture_output=True, text=True, timeout=100, check=True
    )
    alarms, found = json.loads(done.stdout)
    error = 3 * np.sqrt(0.05 * 0.95 / STUDIES)
    assert abs(alarms / STUDIES - 0.05) <= error
    assert 0.7 < found / STUDIES < 0.95


def test_ranks_follow_the_direction() -> None:
    scores = np.array([[0.9, 0.8, 0.7], [0.9, 0.7, 0.8], [0.9, 0.8, 0.7]])
    ranks, p = mean_ranks(scores, higher_is_better=True)
    assert ranks == pytest.approx([1, 7 / 3, 8 / 3])
    assert p is not None
    assert 0.05 < p < 0.2
    assert mean_ranks(scores, higher_is_better=False)[0] == pytest.approx([3, 5 / 3, 4 / 3])
    assert mean_ranks(scores[:, :2], higher_is_better=True)[1] is None
