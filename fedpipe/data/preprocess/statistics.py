"""Statistics of columns that merge: each client computes its own, and those of all clients are made
of them by adding, as in federated analytics. None needs the examples of two clients in one place.

NaN, an empty cell, is left out everywhere.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from fedpipe.data.array_types import Array, Floats, Ints

_DIGIT_BITS = 8
_DIGITS = 1 << _DIGIT_BITS
_KEY_BITS = 32


@dataclass(frozen=True)
class Moments:
    """Number of values, mean, and sum of squared differences from the mean, float64 [values] each
    (Chan, Golub and LeVeque 1983).
    """

    count: Floats
    mean: Floats
    squares: Floats

    @classmethod
    def of(cls, x: Array) -> "Moments":
        """Return those of numbers [n, values]."""
        known = ~np.isnan(x)
        values = np.where(known, x, 0).astype(np.float64)
        count = known.sum(axis=0).astype(np.float64)
        mean = values.sum(axis=0) / np.maximum(count, 1)
        squares = (np.where(known, values - mean, 0) ** 2).sum(axis=0)
        return cls(count, mean, squares)

    def merged(self, moments: "Moments") -> "Moments":
        """Return those of both sets of examples together."""
        count = self.count + moments.count
        share = moments.count / np.maximum(count, 1)
        difference = moments.mean - self.mean
        return Moments(
            count,
            self.mean + difference * share,
            self.squares + moments.squares + difference**2 * self.count * share,
        )

    def std(self) -> Floats:
        """Return the population's standard deviation; 0 of a constant column, also where rounding
        leaves a trace.
        """
        count = np.maximum(self.count, 1)
        variance = self.squares / count
        epsilon = np.finfo(np.float64).eps
        traces = count * epsilon * variance + (count * self.mean * epsilon) ** 2
        std: Floats = np.sqrt(np.where(variance <= traces, 0, variance))
        return std


@dataclass(frozen=True)
class Extremes:
    """Smallest and largest value, float64 [values] each; infinities of no value."""

    low: Floats
    high: Floats

    @classmethod
    def of(cls, x: Array) -> "Extremes":
        """Return those of numbers [n, values]."""
        low = np.where(np.isnan(x), np.inf, x).min(axis=0, initial=np.inf)
        high = np.where(np.isnan(x), -np.inf, x).max(axis=0, initial=-np.inf)
        return cls(low.astype(np.float64), high.astype(np.float64))

    def merged(self, extremes: "Extremes") -> "Extremes":
        """Return those of both sets of examples together."""
        return Extremes(np.minimum(self.low, extremes.low), np.maximum(self.high, extremes.high))


def quantiles(
    batches: Callable[[], Iterable[Array]], fractions: tuple[float, ...], counts: Floats
) -> Floats:
    """Return exact quantiles with linear interpolation, as `numpy.percentile`, float64 [fractions,
    values].

    Four passes over the examples; each counts how often a digit of 8 bits occurs in the values that
    have the digits found before. The counts are sums over clients, and memory grows with neither.

    Args:
        batches: gives all examples anew at each call, float32 [n, values].
        fractions: from 0 to 1.
        counts: float64 [values], numbers of values that are not NaN.
    """
    last = np.maximum(counts - 1, 0)
    positions = np.array(fractions)[:, None] * last
    lower = np.floor(positions)
    ranks = np.concatenate([lower, np.minimum(lower + 1, last)]).astype(np.int64)
    keys = _keys_at(batches, ranks)
    values = _values_of(keys).astype(np.float64)
    low, high = np.split(values, 2)
    result: Floats = low + (high - low) * (positions - lower)
    return np.where(counts == 0, 0, result)


def _keys_at(batches: Callable[[], Iterable[Array]], ranks: Ints) -> Array:
    """Return the keys at these ranks, uint32 [ranks, values]."""
    targets, width = ranks.shape
    prefixes = np.zeros(ranks.shape, np.uint32)
    left = ranks.copy()
    for shift in range(_KEY_BITS - _DIGIT_BITS, -1, -_DIGIT_BITS):
        histogram = np.zeros((targets, width * _DIGITS), np.int64)
        for keys, known in _keys_of(batches()):
            digits = ((keys >> np.uint32(shift)) & np.uint32(_DIGITS - 1)).astype(np.int64)
            cells = digits + np.arange(width) * _DIGITS
            high_bits = keys.astype(np.uint64) >> np.uint64(shift + _DIGIT_BITS)
            for target in range(targets):
                chosen = known & (high_bits == prefixes[target])
                histogram[target] += np.bincount(cells[chosen], minlength=width * _DIGITS)
        ends = np.cumsum(histogram.reshape(targets, width, _DIGITS), axis=2)
        digit = np.minimum((ends <= left[:, :, None]).sum(axis=2), _DIGITS - 1)
        before = np.take_along_axis(ends, np.maximum(digit - 1, 0)[:, :, None], 2)[:, :, 0]
        left = left - np.where(digit > 0, before, 0)
        prefixes = (prefixes << np.uint32(_DIGIT_BITS)) | digit.astype(np.uint32)
    return prefixes


def _keys_of(batches: Iterable[Array]) -> Iterator[tuple[Array, Array]]:
    """Yield for float32 numbers uint32 keys in the same order, and which numbers are not NaN."""
    for x in batches:
        bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
        negative = bits >> np.uint32(31) == 1
        yield np.where(negative, ~bits, bits | np.uint32(1 << 31)), ~np.isnan(x)


def _values_of(keys: Array) -> Array:
    positive = keys >> np.uint32(31) == 1
    bits = np.where(positive, keys ^ np.uint32(1 << 31), ~keys)
    return np.ascontiguousarray(bits, np.uint32).view(np.float32)
