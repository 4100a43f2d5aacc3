"""How clients' updates become one: any `tff.aggregators` factory, and whether it may be fed with partial sums.

A mean and a sum can be computed from the sums of groups of clients; a clipped mean, a median or a sum with noise cannot,
they must see each client's update. Nobody can tell that from a factory's outside, so it is stated here where it is chosen.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow_federated as tff

from fedpipe.algorithms.robust import StackedFactory, krum, median, trimmed_mean
from fedpipe.config.schema import AggregatorConfig


@dataclass(frozen=True)
class Aggregation:
    """A way to aggregate.

    Attributes:
        name: for the record.
        each: the factory that sees every client's update.
        partial: (sum over the cohort of its updates, times their update weights if `weighted`; sum of the update weights) ->
            the same aggregate, in TensorFlow ops; `None` if it cannot be computed from these.
        private: whether it is the mechanism that `privacy` names.
    """

    name: str
    each: Any
    partial: Callable[[list[Any], Any], list[Any]] | None = None
    private: bool = False

    @property
    def weighted(self) -> bool:
        """Return whether updates count by their update weight."""
        return isinstance(self.each, tff.aggregators.WeightedAggregationFactory)


def mean() -> Aggregation:
    """Return the mean by update weight, sum_k n_k d_k / sum_k n_k; undefined (NaN) if all weights are zero."""
    return Aggregation("mean", tff.aggregators.MeanFactory(), lambda total, weight: [tensor / weight for tensor in total])


def sum_of_updates() -> Aggregation:
    """Return the plain sum of the updates; update weights are not used."""
    return Aggregation("sum", tff.aggregators.SumFactory(), lambda total, _: total)


def each_client(name: str, factory: Any) -> Aggregation:
    """Return an aggregation by any weighted or unweighted TFF factory that must see each client's update."""
    return Aggregation(name, factory)


def build_aggregation(config: AggregatorConfig) -> Aggregation:
    """Return the aggregation that the settings name.

    Clipping and zeroing are TFF's `robust_aggregator`: adaptive, zeroing first; norms above the estimated 0.8 quantile are clipped, updates
    with a value far above the largest usual are made zero (Andrew et al. 2021, arXiv 1905.03871, for the estimate).
    """
    if config.name == "median":
        return each_client("median", StackedFactory(median))
    if config.name == "trimmed_mean":
        return each_client("trimmed mean", StackedFactory(trimmed_mean(config.trim_fraction)))
    if config.name == "krum":
        return each_client("Krum", StackedFactory(krum(config.byzantine)))
    if config.clipping or config.zeroing:
        parts = [part for part, chosen in (("zeroing", config.zeroing), ("clipping", config.clipping)) if chosen]
        robust = tff.learning.robust_aggregator(zeroing=config.zeroing, clipping=config.clipping, weighted=True)
        return each_client(f"mean with {' and '.join(parts)}", robust)
    return mean()
