"""Differentially private means: TFF's `DifferentiallyPrivateFactory` on sums with seeded noise.

    each client's update --clip to clip_norm--> sum + noise of clip_norm * noise_multiplier --/ cohort.size--> mean update

The denominator is `cohort.size`, however many clients report: a count of them would need noise of its own. What epsilon this has is
the accountant's to say (`accountant`); here is what makes it true: one weight for all, one clip for all tensors together, fixed
denominator.
"""

from collections import OrderedDict
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff
import tensorflow_privacy as tfp

from fedpipe.algorithms.aggregation import Aggregation
from fedpipe.algorithms.noise import SeededAdaptiveSum, SeededGaussianSum
from fedpipe.config import Config
from fedpipe.seeding import derive_seed

FIRST_CLIP = 0.1
TARGET_QUANTILE = 0.5
CLIP_LEARNING_RATE = 0.2
COUNT_STDDEV_FRACTION = 0.05


def private_mean(config: Config, shapes: list[tuple[int, ...]]) -> Aggregation:
    """Return the private mean that `config.privacy` names.

    Args:
        config: `privacy`, its noise multiplier known, `cohort.size` and `seed` are read.
        shapes: of the model's tensors, in order.
    """
    privacy, clients = config.privacy, float(config.cohort.size)
    if privacy.noise_multiplier is None:
        raise ValueError("privacy.noise_multiplier: expected a number (accountant.account calibrates it), found None")
    clip, noise = privacy.clip_norm or FIRST_CLIP, privacy.noise_multiplier
    if privacy.mechanism == "gaussian":
        query: Any = SeededGaussianSum(clip, clip * noise, config.seed, "sum")
        name = "private mean, fixed clip"
    elif privacy.mechanism == "adaptive":
        # Where the cohort is small TFF's usual noise of the count leaves none of the budget to the sum; this has 1.16 z there.
        count_stddev = max(COUNT_STDDEV_FRACTION * clients, noise) if noise else 0.0
        # z^-2 = z_sum^-2 + (2 count_stddev)^-2 (Andrew et al. 2021, Theorem 1): together they cost what noise z costs.
        sum_noise = (noise**-2 - (2 * count_stddev) ** -2) ** -0.5 if noise else 0.0
        quantile = privacy.target_quantile or TARGET_QUANTILE
        query = SeededAdaptiveSum(clip, sum_noise, quantile, CLIP_LEARNING_RATE, count_stddev, clients, config.seed)
        name = "private mean, adaptive clip"
    else:
        specs = [tf.TensorSpec(shape, tf.float32) for shape in shapes]
        # The tree adds small numbers to its seed, which must not run over.
        seed = derive_seed(config.seed, "privacy", "tree") >> 1
        query = tfp.TreeResidualSumQuery.build_l2_gaussian_query(clip, noise, specs, noise_seed=seed)
        if privacy.restart_rounds:
            query = tfp.RestartQuery(query, tfp.restart_query.PeriodicRoundRestartIndicator(privacy.restart_rounds))
        name = "private mean, tree"
    inner = tff.aggregators.DifferentiallyPrivateFactory(tfp.NormalizedQuery(query, denominator=clients))
    return Aggregation(name, _NumbersOnly(inner), private=True)


class _NumbersOnly(tff.aggregators.UnweightedAggregationFactory):  # type: ignore[misc] # TFF has no types
    """TFF's private factory without the event in its state, which is text: a checkpoint holds numbers.

    The event that TFF keeps there is the last round's, for whoever wants to account by it; it is not read by the next round.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def create(self, value_type: Any) -> Any:
        """Return the aggregation process; its state is the query's and the sum's, it measures the clip where that adapts."""
        inner = self._inner.create(value_type)
        state_type = inner.initialize.type_signature.result.member
        rest_types = state_type["dp_event"], state_type["is_init_state"]

        @tff.tensorflow.computation
        def rest() -> Any:
            return tuple(map(_zeros, rest_types))

        @tff.federated_computation
        def initialize() -> Any:
            state = inner.initialize()
            return tff.federated_zip((state.query_state, state.agg_state))

        @tff.federated_computation(initialize.type_signature.result, tff.FederatedType(value_type, tff.CLIENTS))
        def next_fn(state: Any, updates: Any) -> Any:
            event, is_initial = tff.federated_eval(rest, tff.SERVER)
            whole = OrderedDict(query_state=state[0], agg_state=state[1], dp_event=event, is_init_state=is_initial)
            output = inner.next(tff.federated_zip(whole), updates)
            next_state = tff.federated_zip((output.state.query_state, output.state.agg_state))
            return tff.templates.MeasuredProcessOutput(next_state, output.result, output.measurements.dp_query_metrics)

        return tff.templates.AggregationProcess(initialize, next_fn)


def _zeros(value_type: Any) -> Any:
    """Return zeros, or empty texts, of a TFF type, by name."""
    if isinstance(value_type, tff.TensorType):
        return tf.zeros(value_type.shape, value_type.dtype)
    elements = [(name, _zeros(inner)) for name, inner in tff.structure.iter_elements(value_type)]
    return OrderedDict(elements) if all(name for name, _ in elements) else tuple(value for _, value in elements)
