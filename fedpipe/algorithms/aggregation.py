"""Aggregates clients' updates: by any `tff.aggregators` factory, and, where the result is the same,
by partial sums.

A mean and a sum can be computed from the sums of groups of clients; a clipped mean, a median or a
sum with noise cannot, they must see each client's update. Nobody can tell that from a factory's
outside, so it is stated here where it is chosen.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

import tensorflow_federated as tff

from fedpipe.algorithms.robust import StackedFactory, krum, median, trimmed_mean
from fedpipe.config.training import Aggregator

COMPRESSED_ABOVE = 1000


@dataclass(frozen=True)
class Aggregation:
    """A way to aggregate.

    Attributes:
        name: for the record.
        each: the factory that sees every client's update.
        partial: (sum over the cohort of its updates, times their update weights if `weighted`; sum
            of the update weights) -> the same aggregate, in TensorFlow ops; `None` if it cannot be
            computed from these.
        private: whether it is the mechanism that `privacy` names.
        secure: whether it asks for secure sums, which are simulated here (see `secure`).
        bits: bits that a client sends of each coordinate of a tensor above `COMPRESSED_ABOVE`
            coordinates.
    """

    name: str
    each: Any
    partial: Callable[[list[Any], Any], list[Any]] | None = None
    private: bool = False
    secure: bool = False
    bits: int = 32

    def bytes_of(self, tensors: Iterable[tuple[int, ...]]) -> int:
        """Return the bytes of one client's update, given the shapes of its tensors; a quantized
        tensor sends its range as well.

        >>> mean().bytes_of([(784, 10), (10,)])
        31400
        """
        sizes = [prod(shape) for shape in tensors]
        return sum(
            (size * self.bits + 7) // 8 + 8
            if self.bits < 32 and size > COMPRESSED_ABOVE
            else 4 * size
            for size in sizes
        )

    @property
    def weighted(self) -> bool:
        """Return whether updates count by their update weight."""
        return isinstance(self.each, tff.aggregators.WeightedAggregationFactory)


def mean() -> Aggregation:
    """Return the mean by update weight, sum_k n_k d_k / sum_k n_k; undefined (NaN) if all weights
    are zero.
    """
    return Aggregation(
        "mean",
        tff.aggregators.MeanFactory(),
        lambda total, weight: [tensor / weight for tensor in total],
    )


def sum_of_updates() -> Aggregation:
    """Return the plain sum of the updates; update weights are not used."""
    return Aggregation("sum", tff.aggregators.SumFactory(), lambda total, _: total)


def each_client(name: str, factory: Any) -> Aggregation:
    """Return an aggregation by any weighted or unweighted TFF factory that must see each client's
    update.
    """
    return Aggregation(name, factory)


def build_aggregation(config: Aggregator) -> Aggregation:
    """Return the aggregation that the settings name.

    Clipping and zeroing are TFF's `robust_aggregator`: adaptive, zeroing first; norms above the
    estimated 0.8 quantile are clipped, updates with a value far above the largest usual are made
    zero (Andrew et al. 2021, arXiv 1905.03871, for the estimate). With `secure` they are part of
    TFF's `secure_aggregator`. Compression is uniform quantization between a tensor's least and
    largest value (Suresh et al. 2017, arXiv 1611.00429, section 2).
    """
    if config.name == "median":
        return each_client("median", StackedFactory(median))
    if config.name == "trimmed_mean":
        return each_client("trimmed mean", StackedFactory(trimmed_mean(config.trim_fraction)))
    if config.name == "krum":
        return each_client("Krum", StackedFactory(krum(config.byzantine)))
    if config.compression_bits is not None:
        # Rounded to the nearest, not at random: TFF's random rounding has no seed.
        encoded = tff.aggregators.EncodedSumFactory.quantize_above_threshold(
            config.compression_bits, COMPRESSED_ABOVE, stochastic=False
        )
        return Aggregation(
            f"mean, {config.compression_bits} bits",
            tff.aggregators.MeanFactory(encoded),
            bits=config.compression_bits,
        )
    if config.secure:
        secure = tff.learning.secure_aggregator(
            zeroing=config.zeroing, clipping=config.clipping, weighted=True
        )
        return Aggregation("mean by secure sums (simulated)", secure, secure=True)
    if config.clipping or config.zeroing:
        chosen = [name for name in ("zeroing", "clipping") if getattr(config, name)]
        robust = tff.learning.robust_aggregator(
            zeroing=config.zeroing, clipping=config.clipping, weighted=True
        )
        return each_client(f"mean with {' and '.join(chosen)}", robust)
    return mean()
