"""The sums of differential privacy, with noise from a key of the run's own.

TFF's factories draw Gaussian noise from the system's clock, so that no run could be resumed to the
same bits. These are TensorFlow Privacy's queries with that one thing changed: the state counts the
rounds, and a tensor's noise is a stateless draw for (key, which tensor, round). The key is 256
random bits that never leave the folder of the run's checkpoints. With `privacy.repeatable` the
run's seed takes its place: anyone who knows the seed can then compute the noise and subtract it.
"""

import hmac
from collections import namedtuple
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf
import tensorflow_privacy as tfp

from fedpipe.seeding import derive_seed


@dataclass(frozen=True)
class NoiseSource:
    """The source of a run's noise.

    Attributes:
        key: 32 secret bytes; None if the run is repeatable.
        seed: the run's, which a repeatable run draws its noise from.
    """

    key: bytes | None = field(repr=False)
    seed: int

    def words(self, *names: str | int) -> tuple[int, int]:
        """Return two secret 63-bit numbers for the draw called `names`: 16 bytes of
        HMAC-SHA256(key, names).
        """
        if self.key is None:
            word = derive_seed(self.seed, "privacy", *names)
            return word, word
        digest = hmac.digest(self.key, repr(names).encode(), "sha256")
        return int.from_bytes(digest[:8], "big") >> 1, int.from_bytes(digest[8:16], "big") >> 1

    def round_seed(self, round_num: Any, *names: str | int) -> Any:
        """Return TensorFlow's stateless seed, int64 [2], of the draw called `names` in a round
        (int64 scalar).
        """
        first, second = self.words(*names)
        if self.key is None:
            return tf.stack([tf.constant(first, tf.int64), round_num])
        return tf.random.experimental.stateless_fold_in(
            tf.constant([first, second], tf.int64), round_num
        )


class SeededGaussianSum(tfp.GaussianSumQuery):  # type: ignore[misc] # it has no types
    """Clips each record to an L2 norm over all its tensors and adds N(0, stddev^2) to every
    coordinate of the sum.

    Of the parent, clipping and the event are used as they are. Source: McMahan et al. 2018,
    "Learning Differentially Private Recurrent Language Models" (arXiv 1710.06963), Algorithm 1.
    """

    _GlobalState = namedtuple("_GlobalState", ["l2_norm_clip", "stddev", "round_num"])

    def __init__(self, clip_norm: float, stddev: float, source: NoiseSource, name: str) -> None:
        """Take the clip, the noise and its source, and the name of what is summed: other names have
        other noise.
        """
        super().__init__(clip_norm, stddev)
        self._source = source
        self._name = name

    def make_global_state(self, l2_norm_clip: Any, stddev: Any, round_num: Any = 1) -> Any:
        """Return the state of the round that comes next, counted from 1."""
        return self._GlobalState(
            tf.cast(l2_norm_clip, tf.float32),
            tf.cast(stddev, tf.float32),
            tf.cast(round_num, tf.int64),
        )

    def get_noised_result(self, sample_state: Any, global_state: Any) -> Any:
        """Return the sum with noise, the next state and the event."""
        import dp_accounting

        noised = []
        for number, tensor in enumerate(tf.nest.flatten(sample_state)):
            seed = self._source.round_seed(global_state.round_num, self._name, number)
            noised.append(
                tensor
                + tf.random.stateless_normal(
                    tf.shape(tensor), seed, stddev=global_state.stddev, dtype=tensor.dtype
                )
            )
        event = dp_accounting.GaussianDpEvent(global_state.stddev / global_state.l2_norm_clip)
        next_state = global_state._replace(round_num=global_state.round_num + 1)
        return tf.nest.pack_sequence_as(sample_state, noised), next_state, event


class _SeededQuantile(tfp.QuantileEstimatorQuery):  # type: ignore[misc]
    """The quantile of the norms, its count of records below with seeded noise."""

    def __init__(self, source: NoiseSource, *args: Any) -> None:
        self._source = source
        super().__init__(*args)

    def _construct_below_estimate_query(self, stddev: float, expected: float) -> Any:
        # A record counts +0.5 or -0.5, so that its sensitivity is 0.5.
        return tfp.NormalizedQuery(
            SeededGaussianSum(0.5, stddev, self._source, "below"), denominator=expected
        )


class SeededAdaptiveSum(tfp.QuantileAdaptiveClipSumQuery):  # type: ignore[misc]
    """The same sum with a clip that follows a quantile of the norms by geometric steps.

    Source: Andrew et al. 2021, "Differentially Private Learning with Adaptive Clipping" (arXiv
        1905.03871), Algorithm 1.
    """

    def __init__(
        self,
        clip_norm: float,
        noise_multiplier: float,
        quantile: float,
        learning_rate: float,
        count_stddev: float,
        clients: float,
        source: NoiseSource,
    ) -> None:
        """Take what the parent takes, and the source of the noise.

        `noise_multiplier` is that of the sum alone; `clip_norm` is the first clip.
        """
        super().__init__(
            clip_norm, noise_multiplier, quantile, learning_rate, count_stddev, clients
        )
        self._sum_query = SeededGaussianSum(clip_norm, noise_multiplier * clip_norm, source, "sum")
        self._quantile_estimator_query = _SeededQuantile(
            source, clip_norm, quantile, learning_rate, count_stddev, clients, True
        )

    def get_noised_result(self, sample_state: Any, global_state: Any) -> Any:
        """Return the sum with noise, the next state, with the next clip, and the event."""
        result, state, event = super().get_noised_result(sample_state, global_state)
        # The parent makes the sum's state anew, for the next clip; the count of rounds stays.
        counted = state.sum_state._replace(round_num=global_state.sum_state.round_num + 1)
        return result, state._replace(sum_state=counted), event


class SeededTreeNoise(tfp.tree_aggregation.GaussianNoiseGenerator):  # type: ignore[misc]
    """The noise of a tree's nodes: TensorFlow Privacy's generator, which adds small numbers to its
    seeds, started from a source.
    """

    def __init__(self, stddev: float, specs: Any, source: NoiseSource) -> None:
        """Take the deviation of a node's noise, the shapes, and the source."""
        super().__init__(stddev, specs)
        # Halved: what the generator adds must not run over.
        self._words = [word >> 1 for word in source.words("tree")]

    def initialize(self) -> Any:
        """Return the state before the first node."""
        return self._GlobalState(
            tf.constant(self._words, tf.int64), tf.constant(self._noise_std, tf.float32)
        )
