"""What scores of several seeds say: intervals, and paired tests of differences.

All arms of a seed have the same data, cohorts and initial weights, so differences are taken seed by
seed. SciPy and statsmodels compute. An interval is that of Student's t at 95 %; the test is a
permutation test of the mean of paired differences, whose signs are flipped in all ways (Fisher
1935) or, above 16 seeds, in 99,999 drawn ones; p-values of a study are corrected together by Holm
(1979).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95
ALPHA = 0.05
POWER = 0.8
FEWEST_SEEDS = 3
"""Fewer seeds cannot carry a test."""

_MOST_EXACT = 16
_DRAWN = 99_999

Interval = tuple[float, float]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Summary:
    """Scores of one cell.

    Attributes:
        seeds: number of scores.
        mean: of the scores.
        std: standard deviation of a sample; None of one score.
        ci95: interval of the mean; None of one score.
    """

    seeds: int
    mean: float
    std: float | None
    ci95: Interval | None


@dataclass(frozen=True)
class Difference:
    """Paired scores of two arms, seed by seed: a minus b.

    Attributes:
        seeds: number of pairs.
        mean: mean difference.
        ci95: its interval.
        p: of the permutation test, two-sided.
        test: how p was computed.
        effect_size: the mean in standard deviations of the differences, with Hedges' correction;
            None where they do not vary.
        detectable: smallest mean difference that a test of so many seeds would find in 80 % of
            studies, at 5 % and without correction, if differences vary as these do.
    """

    seeds: int
    mean: float
    ci95: Interval
    p: float
    test: str
    effect_size: float | None
    detectable: float


def summarize(scores: Sequence[float]) -> Summary:
    """Return what the scores of a cell say.

    Args:
        scores: of at least one seed.

    >>> found = summarize([0.1, 0.2, 0.3])
    >>> round(found.mean, 3), round(found.std, 3), [round(end, 3) for end in found.ci95]
    (0.2, 0.1, [-0.048, 0.448])
    """
    values = np.asarray(scores, np.float64)
    if len(values) == 1:
        return Summary(1, float(values[0]), None, None)
    return Summary(len(values), float(values.mean()), float(values.std(ddof=1)), _interval(values))


def difference(a: Sequence[float], b: Sequence[float], seed: int = 0) -> Difference:
    """Return what paired scores of two arms say.

    Args:
        a: scores of the one arm.
        b: scores of the other, of the same seeds in the same order; at least three.
        seed: of the signs that are drawn where there are too many for all.

    Raises:
        ValueError: there are fewer than three pairs, or the two do not pair.

    >>> found = difference([0.5, 0.6, 0.7, 0.8], [0.4, 0.5, 0.6, 0.7])
    >>> round(found.mean, 3), found.p
    (0.1, 0.125)
    """
    if len(a) != len(b) or len(a) < FEWEST_SEEDS:
        raise ValueError(
            f"expected {FEWEST_SEEDS} pairs or more, found {len(a)} and {len(b)} scores"
        )
    pairs = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    std = float(pairs.std(ddof=1))
    # Rounding makes differences of equal scores vary in their last bits.
    varies = std > 1e-12 * max(1.0, float(np.abs(pairs).max()))
    correction = 1 - 3 / (4 * (len(pairs) - 1) - 1)
    return Difference(
        len(pairs),
        float(pairs.mean()),
        _interval(pairs),
        *_permutation_test(pairs, seed),
        float(pairs.mean()) / std * correction if varies else None,
        _detectable(len(pairs), std) if varies else 0.0,
    )


def corrected(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number by Holm's method, in their order.

    >>> corrected([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    if not p_values:
        return []
    from statsmodels.stats.multitest import multipletests

    return [round(float(p), 12) for p in multipletests(p_values, method="holm")[1]]


def mean_ranks(scores: Floats, higher_is_better: bool) -> tuple[list[float], float | None]:
    """Return the mean rank of each arm over conditions, 1 is best, and the p-value of Friedman's
    test that all arms are alike; None with fewer than three arms or conditions, of which it says
    nothing.

    Args:
        scores: float64 [conditions, arms].
        higher_is_better: whether the highest score has rank 1.
    """
    from scipy.stats import friedmanchisquare, rankdata

    ranks = rankdata(-scores if higher_is_better else scores, axis=1)
    p = None
    if min(scores.shape) >= 3 and np.ptp(ranks, axis=1).any():
        p = float(friedmanchisquare(*scores.T).pvalue)
    return [float(rank) for rank in ranks.mean(axis=0)], p


def _interval(values: Floats) -> Interval:
    from scipy.stats import t

    half = (
        float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
        * float(values.std(ddof=1))
        / math.sqrt(len(values))
    )
    return float(values.mean()) - half, float(values.mean()) + half


def _permutation_test(pairs: Floats, seed: int) -> tuple[float, str]:
    if not pairs.any():
        return 1.0, "exact permutation test"
    from scipy.stats import permutation_test

    exact = len(pairs) <= _MOST_EXACT
    result = permutation_test(
        (pairs,),
        lambda values, axis: np.mean(values, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf if exact else _DRAWN,
        batch=10_000,
        random_state=np.random.default_rng(seed),
    )
    name = "exact permutation test" if exact else f"permutation test, {_DRAWN:,} drawn"
    return min(1.0, float(result.pvalue)), name


def _detectable(seeds: int, std: float) -> float:
    from statsmodels.stats.power import TTestPower

    effect = TTestPower().solve_power(nobs=seeds, alpha=ALPHA, power=POWER)
    return float(effect) * std
