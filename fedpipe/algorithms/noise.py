"""The sums of differential privacy, with noise that follows from the run's seed and the number of the round.

TFF's factories draw Gaussian noise from the system's clock, so that no run could be repeated or resumed to the same bits. These are
TensorFlow Privacy's queries with that one thing changed: the state counts the rounds, and a tensor's noise is a stateless draw for
(seed, which tensor, round). Who knows the seed can take the noise off again: a run whose weights are to be released needs a secret one.
"""

from collections import namedtuple
from typing import Any

import tensorflow as tf
import tensorflow_privacy as tfp

from fedpipe.seeding import derive_seed


class SeededGaussianSum(tfp.GaussianSumQuery):  # type: ignore[misc] # it has no types
    """Clips each record to an L2 norm over all its tensors and adds N(0, stddev^2) to every coordinate of the sum.

    Of the parent, clipping and the event are used as they are. Source: McMahan et al. 2018, "Learning Differentially Private Recurrent
    Language Models" (arXiv 1710.06963), Algorithm 1.
    """

    _GlobalState = namedtuple("_GlobalState", ["l2_norm_clip", "stddev", "round_num"])

    def __init__(self, clip_norm: float, stddev: float, seed: int, name: str) -> None:
        """Take the clip, the noise, the run's seed, and the name of what is summed: other names have other noise."""
        super().__init__(clip_norm, stddev)
        self._seed, self._name = seed, name

    def make_global_state(self, l2_norm_clip: Any, stddev: Any, round_num: Any = 1) -> Any:
        """Return the state of the round that comes next, counted from 1."""
        return self._GlobalState(tf.cast(l2_norm_clip, tf.float32), tf.cast(stddev, tf.float32), tf.cast(round_num, tf.int64))

    def get_noised_result(self, sample_state: Any, global_state: Any) -> Any:
        """Return the sum with noise, the next state and the event."""
        import dp_accounting

        noised = []
        for number, tensor in enumerate(tf.nest.flatten(sample_state)):
            key = tf.stack([tf.constant(derive_seed(self._seed, "privacy", self._name, number), tf.int64), global_state.round_num])
            noised.append(tensor + tf.random.stateless_normal(tf.shape(tensor), key, stddev=global_state.stddev, dtype=tensor.dtype))
        event = dp_accounting.GaussianDpEvent(global_state.stddev / global_state.l2_norm_clip)
        next_state = global_state._replace(round_num=global_state.round_num + 1)
        return tf.nest.pack_sequence_as(sample_state, noised), next_state, event


class _SeededQuantile(tfp.QuantileEstimatorQuery):  # type: ignore[misc]
    """The quantile of the norms, its count of records below with seeded noise."""

    def __init__(self, seed: int, *args: Any) -> None:
        self._seed = seed
        super().__init__(*args)

    def _construct_below_estimate_query(self, stddev: float, expected: float) -> Any:
        # A record counts +0.5 or -0.5, so that its sensitivity is 0.5.
        return tfp.NormalizedQuery(SeededGaussianSum(0.5, stddev, self._seed, "below"), denominator=expected)


class SeededAdaptiveSum(tfp.QuantileAdaptiveClipSumQuery):  # type: ignore[misc]
    """The same sum with a clip that follows a quantile of the norms by geometric steps.

    Source: Andrew et al. 2021, "Differentially Private Learning with Adaptive Clipping" (arXiv 1905.03871), Algorithm 1.
    """

    def __init__(
        self,
        clip_norm: float,
        noise_multiplier: float,
        quantile: float,
        learning_rate: float,
        count_stddev: float,
        clients: float,
        seed: int,
    ) -> None:
        """Take what the parent takes, and the run's seed. `noise_multiplier` is that of the sum alone; `clip_norm` is the first clip."""
        super().__init__(clip_norm, noise_multiplier, quantile, learning_rate, count_stddev, clients)
        self._sum_query = SeededGaussianSum(clip_norm, noise_multiplier * clip_norm, seed, "sum")
        self._quantile_estimator_query = _SeededQuantile(seed, clip_norm, quantile, learning_rate, count_stddev, clients, True)

    def get_noised_result(self, sample_state: Any, global_state: Any) -> Any:
        """Return the sum with noise, the next state, with the next clip, and the event."""
        result, state, event = super().get_noised_result(sample_state, global_state)
        # The parent makes the sum's state anew, for the next clip; the count of rounds goes on.
        counted = state.sum_state._replace(round_num=global_state.sum_state.round_num + 1)
        return result, state._replace(sum_state=counted), event
