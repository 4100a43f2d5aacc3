"""Changes that a client draws anew for each example that it trains on, in TensorFlow ops.

Draws are stateless: a pure function of the client's seed in the round, the step and the place of
the change, so that runs repeat to the bit.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from fedpipe.config.augment import (
    Augmentation,
    FlipSettings,
    NoiseSettings,
    RandomCropSettings,
)

Augment = Callable[[Any, Any, Any], Any]
"""(features of a batch [n, ...], the client's seed, the step) -> the changed features."""


def build_augment(changes: Sequence[Augmentation]) -> Augment | None:
    """Return the changes one after the other; None if there are none.

    Source of flip and crop: He et al. 2016, arXiv 1512.03385, section 4.2.
    """
    if not changes:
        return None

    def augment(x: Any, seed: Any, step: Any) -> Any:
        for place, change in enumerate(changes):
            # below zero: orders draw from 0, dropout from step + 1
            key = tf.stack([seed, -1 - (step * len(changes) + place)])
            x = _changed(x, change, key)
        return x

    return augment


def _changed(x: Any, change: Augmentation, key: Any) -> Any:
    if isinstance(change, FlipSettings):
        return flipped(x, change, key)
    if isinstance(change, RandomCropSettings):
        return cropped(x, change, key)
    return noisy(x, change, key)


def flipped(x: Any, settings: FlipSettings, key: Any) -> Any:
    """Return images [n, height, width(, channels)], each mirrored with probability one half."""
    count = tf.shape(x)[0]
    coins = tf.random.stateless_uniform([2, count], key) < 0.5
    shape = [count, *[1] * (len(x.shape) - 1)]
    for axis, name in ((2, "horizontal"), (1, "vertical")):
        if settings.axis in (name, "both"):
            x = tf.where(tf.reshape(coins[axis - 1], shape), tf.reverse(x, [axis]), x)
    return x


def cropped(x: Any, settings: RandomCropSettings, key: Any) -> Any:
    """Return images [n, height, width(, channels)], each shifted by whole pixels, at most
    `padding` in each direction.
    """
    margin = settings.padding
    sides = [[0, 0], [margin, margin], [margin, margin], [0, 0]][: len(x.shape)]
    padded = tf.pad(x, sides, constant_values=settings.fill)
    shifts = tf.random.stateless_uniform(
        [2, tf.shape(x)[0], 1], key, minval=0, maxval=2 * margin + 1, dtype=tf.int32
    )
    rows = tf.gather(padded, shifts[0] + tf.range(x.shape[1]), axis=1, batch_dims=1)
    result = tf.gather(rows, shifts[1] + tf.range(x.shape[2]), axis=2, batch_dims=1)
    return tf.ensure_shape(result, x.shape)


def noisy(x: Any, settings: NoiseSettings, key: Any) -> Any:
    """Return features with normal noise."""
    noise = tf.random.stateless_normal(tf.shape(x), key, stddev=settings.std, dtype=x.dtype)
    result = x + noise
    if settings.low is not None:
        result = tf.maximum(result, settings.low)
    if settings.high is not None:
        result = tf.minimum(result, settings.high)
    return result
