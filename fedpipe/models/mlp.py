"""The multilayer perceptron of McMahan et al. 2017 (arXiv 1602.05629), section 3, "MNIST 2NN".

Two hidden layers of 200 units with ReLU; 199,210 parameters for 28 x 28 and ten classes, the
paper's number.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

from fedpipe.models.initial import glorot_weights
from fedpipe.models.spec import ModelSpec
from fedpipe.types import Weights

_HIDDEN = 200


def mlp(feature_shape: tuple[int, ...], num_classes: int) -> ModelSpec:
    """Return the network on the flattened features; initial weights are `glorot`'s."""
    features = prod(feature_shape)
    widths = (features, _HIDDEN, _HIDDEN, num_classes)
    shapes: dict[str, tuple[int, ...]] = {}
    for name, wide_in, wide_out in zip(
        ("hidden1", "hidden2", "logits"), widths[:-1], widths[1:], strict=True
    ):
        shapes |= {f"{name}/kernel": (wide_in, wide_out), f"{name}/bias": (wide_out,)}

    def initial_weights(seed: int) -> Weights:
        return glorot_weights(seed, shapes)

    def logits(weights: Sequence[Any], x: Any) -> Any:
        import tensorflow as tf

        kernel1, bias1, kernel2, bias2, kernel3, bias3 = weights
        hidden = tf.nn.relu(tf.matmul(tf.reshape(x, (-1, features)), kernel1) + bias1)
        hidden = tf.nn.relu(tf.matmul(hidden, kernel2) + bias2)
        return tf.matmul(hidden, kernel3) + bias3

    def keras() -> Any:
        import tensorflow as tf

        dense = tf.keras.layers.Dense
        layers = [
            dense(_HIDDEN, activation="relu"),
            dense(_HIDDEN, activation="relu"),
            dense(num_classes),
            tf.keras.layers.Softmax(),
        ]
        model = tf.keras.Sequential([tf.keras.layers.InputLayer(input_shape=(features,)), *layers])
        model.set_weights(list(initial_weights(0).values()))
        return model

    return ModelSpec(
        "mlp", feature_shape, num_classes, tuple(shapes), initial_weights, logits, keras
    )
