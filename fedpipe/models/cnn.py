"""The convolutional network of McMahan et al. 2017 (arXiv 1602.05629), section 3, for MNIST.

    x [n, 28, 28] -> conv 5x5, 32 -> max-pool 2x2 -> conv 5x5, 64 -> max-pool 2x2 -> dense 512 ->
    dense 10

with a bias and a ReLU after each layer but the last: 832 + 51,264 + 1,606,144 + 5,130 = 1,663,370
parameters.
"""

from collections.abc import Sequence
from typing import Any

from fedpipe.errors import ModelError
from fedpipe.models.initial import glorot_weights
from fedpipe.models.spec import ModelSpec
from fedpipe.types import Weights

_CHANNELS = (32, 64)
_HIDDEN = 512
_KERNEL = 5


def cnn(feature_shape: tuple[int, ...], num_classes: int) -> ModelSpec:
    """Return the network for images [height, width] or [height, width, channels].

    Initial weights: biases zero; kernels Glorot uniform, U(-a, a) with a = sqrt(6 / (fan_in +
    fan_out)), fans counted with the 5x5 field (Glorot and Bengio 2010, equation 16; what Keras
    does), each drawn by name from the run's seed.

    Raises:
        ModelError: the features are no images of at least 4 x 4.
    """
    if len(feature_shape) not in (2, 3) or min(feature_shape[:2]) < 4:
        raise ModelError(
            "model.name=cnn: expected images [height, width] or [height, width, channels] of at "
            f"least 4 x 4, found features of shape {list(feature_shape)}. Set data.feature_shape "
            "if a row holds the pixels of an image, or choose model.name=softmax."
        )
    height, width, depth = (*feature_shape, 1)[:3]
    flat = (height // 4) * (width // 4) * _CHANNELS[1]
    shapes: dict[str, tuple[int, ...]] = {
        "conv1/kernel": (_KERNEL, _KERNEL, depth, _CHANNELS[0]),
        "conv1/bias": (_CHANNELS[0],),
        "conv2/kernel": (_KERNEL, _KERNEL, *_CHANNELS),
        "conv2/bias": (_CHANNELS[1],),
        "dense/kernel": (flat, _HIDDEN),
        "dense/bias": (_HIDDEN,),
        "logits/kernel": (_HIDDEN, num_classes),
        "logits/bias": (num_classes,),
    }

    def initial_weights(seed: int) -> Weights:
        return glorot_weights(seed, shapes)

    def logits(weights: Sequence[Any], x: Any) -> Any:
        import tensorflow as tf

        kernel1, bias1, kernel2, bias2, kernel3, bias3, kernel4, bias4 = weights
        hidden = tf.reshape(x, (-1, height, width, depth))
        for kernel, bias in ((kernel1, bias1), (kernel2, bias2)):
            # A channel's bias and the ReLU commute with the maximum: after the pool they cost a
            # quarter.
            pooled = tf.nn.max_pool2d(
                tf.nn.conv2d(hidden, kernel, strides=1, padding="SAME"), 2, 2, padding="VALID"
            )
            hidden = tf.nn.relu(tf.nn.bias_add(pooled, bias))
        hidden = tf.nn.relu(tf.matmul(tf.reshape(hidden, (-1, flat)), kernel3) + bias3)
        return tf.matmul(hidden, kernel4) + bias4

    def keras() -> Any:
        import tensorflow as tf

        layers = tf.keras.layers
        model = tf.keras.Sequential(
            [
                layers.InputLayer(input_shape=feature_shape),
                layers.Reshape((height, width, depth)),
                layers.Conv2D(_CHANNELS[0], _KERNEL, padding="same", activation="relu"),
                layers.MaxPool2D(2),
                layers.Conv2D(_CHANNELS[1], _KERNEL, padding="same", activation="relu"),
                layers.MaxPool2D(2),
                layers.Flatten(),
                layers.Dense(_HIDDEN, activation="relu"),
                layers.Dense(num_classes),
                layers.Softmax(),
            ]
        )
        model.set_weights(list(initial_weights(0).values()))
        return model

    return ModelSpec(
        "cnn", feature_shape, num_classes, tuple(shapes), initial_weights, logits, keras
    )
