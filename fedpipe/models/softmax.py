"""Softmax regression that starts at zero: the model of TFF's tutorial "Building your own federated
learning algorithm".
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from fedpipe.models.spec import ModelSpec
from fedpipe.types import Weights


def softmax(feature_shape: tuple[int, ...], num_classes: int) -> ModelSpec:
    """Return multinomial logistic regression, logits = x W + b, on the flattened features.

    Weights: `kernel` float32 [features, num_classes] and `bias` float32 [num_classes], both zero,
        so that the first loss is ln(num_classes) exactly.
    """
    features = prod(feature_shape)

    def initial_weights(seed: int) -> Weights:  # noqa: ARG001 - zeros for every seed
        return {
            "kernel": np.zeros((features, num_classes), np.float32),
            "bias": np.zeros(num_classes, np.float32),
        }

    def logits(weights: Sequence[Any], x: Any) -> Any:
        import tensorflow as tf

        kernel, bias = weights
        return tf.matmul(tf.reshape(x, (-1, features)), kernel) + bias

    def keras() -> Any:
        import tensorflow as tf

        return tf.keras.Sequential(
            [
                tf.keras.layers.InputLayer(input_shape=(features,)),
                tf.keras.layers.Dense(num_classes, kernel_initializer="zeros"),
                tf.keras.layers.Softmax(),
            ]
        )

    return ModelSpec(
        "softmax", feature_shape, num_classes, ("kernel", "bias"), initial_weights, logits, keras
    )
