"""How clients' updates become one: any `tff.aggregators` factory, and whether it may be fed with partial sums.

A mean and a sum can be computed from the sums of groups of clients; a clipped mean, a median or a sum with noise cannot,
they must see each client's update. Nobody can tell that from a factory's outside, so it is stated here where it is chosen.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import tensorflow_federated as tff


@dataclass(frozen=True)
class Aggregation:
    """A way to aggregate.

    Attributes:
        name: for the record.
        each: the factory that sees every client's update.
        partial: the factory that gives the same result from each group's (weighted) sum of updates and sum of weights;
            `None` if there is none.
    """

    name: str
    each: Any
    partial: Any = None

    @property
    def weighted(self) -> bool:
        """Return whether updates count by their update weight."""
        return isinstance(self.each, tff.aggregators.WeightedAggregationFactory)


def mean() -> Aggregation:
    """Return the mean by update weight, sum_k n_k d_k / sum_k n_k; undefined (NaN) if all weights are zero."""
    return Aggregation("mean", tff.aggregators.MeanFactory(), PartialMeanFactory())


def sum_of_updates() -> Aggregation:
    """Return the plain sum of the updates; update weights are not used."""
    return Aggregation("sum", tff.aggregators.SumFactory(), tff.aggregators.SumFactory())


def each_client(name: str, factory: Any) -> Aggregation:
    """Return an aggregation by any weighted or unweighted TFF factory that must see each client's update."""
    return Aggregation(name, factory)


class PartialMeanFactory(tff.aggregators.WeightedAggregationFactory):  # type: ignore[misc]
    """The mean from partial sums: value_g = sum_{k in g} n_k d_k and weight_g = sum_{k in g} n_k; sum value_g / sum weight_g."""

    def create(self, value_type: Any, weight_type: Any) -> Any:
        """Return the `tff.templates.AggregationProcess`; its state is empty."""

        @tff.tensorflow.computation(value_type, weight_type)
        def divide(total: Any, weight: Any) -> Any:
            import tensorflow as tf

            return tf.nest.map_structure(lambda tensor: tensor / weight, total)

        @tff.federated_computation
        def initialize() -> Any:
            return tff.federated_value((), tff.SERVER)

        @tff.federated_computation(
            initialize.type_signature.result,
            tff.FederatedType(value_type, tff.CLIENTS),
            tff.FederatedType(weight_type, tff.CLIENTS),
        )
        def next_fn(state: Any, value: Any, weight: Any) -> Any:
            # One sum of both: each aggregation costs the worker a millisecond or two, whatever its size.
            total, total_weight = tff.federated_sum(tff.federated_zip((value, weight)))
            measurements = tff.federated_zip(OrderedDict(total_weight=total_weight))
            return tff.templates.MeasuredProcessOutput(state, tff.federated_map(divide, (total, total_weight)), measurements)

        return tff.templates.AggregationProcess(initialize, next_fn)
