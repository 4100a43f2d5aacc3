"""Differentially private means: TFF's `DifferentiallyPrivateFactory` on sums with seeded noise.

    each client's update --clip to clip_norm--> sum + noise of clip_norm * noise_multiplier --/
    cohort.size--> mean update

The denominator is `cohort.size`, however many clients report: a count of them would need noise of
its own. What epsilon this has is the accountant's to say (`accountant`); here is what makes it
true: one weight for all, one clip for all tensors together, fixed denominator.
"""

from collections import OrderedDict
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff
import tensorflow_privacy as tfp

from fedpipe.algorithms.accountant import split_noise
from fedpipe.algorithms.aggregation import Aggregation
from fedpipe.algorithms.noise import (
    NoiseSource,
    SeededAdaptiveSum,
    SeededGaussianSum,
    SeededTreeNoise,
)
from fedpipe.config import Config
from fedpipe.config.defaults import FIRST_CLIP, TARGET_QUANTILE

CLIP_LEARNING_RATE = 0.2


def private_mean(
    config: Config, shapes: list[tuple[int, ...]], noise_key: bytes | None
) -> Aggregation:
    """Return the private mean that `config.privacy` names.

    Args:
        config: `privacy`, its noise multiplier known, `cohort` and `seed` are read.
        shapes: of the model's tensors, in order.
        noise_key: 32 secret bytes that the noise is drawn from; None only with
            `privacy.repeatable`.

    Raises:
        ValueError: there is no noise multiplier, or no key for a run that is not repeatable.
    """
    privacy = config.privacy
    clients = float(config.cohort.size)
    if privacy.noise_multiplier is None:
        raise ValueError(
            "privacy.noise_multiplier: expected a number (accountant.account calibrates it), "
            "found None"
        )
    if (noise_key is None) != privacy.repeatable:
        raise ValueError(
            f"noise_key: expected {'none' if privacy.repeatable else '32 bytes'} with "
            f"privacy.repeatable={privacy.repeatable}"
        )
    source = NoiseSource(noise_key, config.seed)
    clip = privacy.clip_norm or FIRST_CLIP
    noise = privacy.noise_multiplier
    if privacy.mechanism == "gaussian":
        query: Any = SeededGaussianSum(clip, clip * noise, source, "sum")
        name = "private mean, fixed clip"
    elif privacy.mechanism == "adaptive":
        sum_noise, count_stddev = split_noise(noise, config.cohort)
        quantile = privacy.target_quantile or TARGET_QUANTILE
        query = SeededAdaptiveSum(
            clip, sum_noise, quantile, CLIP_LEARNING_RATE, count_stddev, clients, source
        )
        name = "private mean, adaptive clip"
    else:
        specs = [tf.TensorSpec(shape, tf.float32) for shape in shapes]
        query = tfp.TreeResidualSumQuery(
            clip_fn=lambda record, norm: tf.clip_by_global_norm(record, norm)[0],
            clip_value=clip,
            record_specs=specs,
            noise_generator=SeededTreeNoise(clip * noise, specs, source),
        )
        if privacy.restart_rounds:
            query = tfp.RestartQuery(
                query, tfp.restart_query.PeriodicRoundRestartIndicator(privacy.restart_rounds)
            )
        name = "private mean, tree"
    inner = tff.aggregators.DifferentiallyPrivateFactory(
        tfp.NormalizedQuery(query, denominator=clients)
    )
    return Aggregation(name, _NumbersOnly(inner), private=True)


# TFF has no types
class _NumbersOnly(tff.aggregators.UnweightedAggregationFactory):  # type: ignore[misc]
    """TFF's private factory without the event in its state, which is text: a checkpoint holds
    numbers.

    The event that TFF keeps there is the last round's, for accounting by it; the next round does
    not read it.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def create(self, value_type: Any) -> Any:
        """Return the aggregation process; its state is the query's and the sum's, it measures the
        clip where that adapts.
        """
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

        @tff.federated_computation(
            initialize.type_signature.result, tff.FederatedType(value_type, tff.CLIENTS)
        )
        def next_fn(state: Any, updates: Any) -> Any:
            event, is_initial = tff.federated_eval(rest, tff.SERVER)
            whole = OrderedDict(
                query_state=state[0], agg_state=state[1], dp_event=event, is_init_state=is_initial
            )
            output = inner.next(tff.federated_zip(whole), updates)
            next_state = tff.federated_zip((output.state.query_state, output.state.agg_state))
            return tff.templates.MeasuredProcessOutput(
                next_state, output.result, output.measurements.dp_query_metrics
            )

        return tff.templates.AggregationProcess(initialize, next_fn)


def _zeros(value_type: Any) -> Any:
    """Return zeros, or empty texts, of a TFF type, by name."""
    if isinstance(value_type, tff.TensorType):
        return tf.zeros(value_type.shape, value_type.dtype)
    elements = [(name, _zeros(inner)) for name, inner in tff.structure.iter_elements(value_type)]
    if all(name for name, _ in elements):
        return OrderedDict(elements)
    return tuple(value for _, value in elements)
