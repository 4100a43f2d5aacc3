"""The convolutional network with dropout of Reddi et al. 2021 (arXiv 2003.00295), appendix C.2,
table 4 (EMNIST characters).

Two 3x3 convolutions (32, 64 channels, no padding) with ReLU, a 2x2 max-pool, dropout 0.25, a dense
layer of 128 with ReLU, dropout 0.5, logits; 1,206,590 parameters for 28 x 28 and 62 classes, the
number of the authors' code.
"""

from collections.abc import Sequence
from typing import Any

from fedpipe.errors import ModelError
from fedpipe.models.initial import glorot_weights
from fedpipe.models.spec import ModelSpec
from fedpipe.types import Weights

_CHANNELS = (32, 64)
_HIDDEN = 128
_RATES = (0.25, 0.5)


def cnn_dropout(feature_shape: tuple[int, ...], num_classes: int) -> ModelSpec:
    """Return the network for images [height, width] or [height, width, channels]; initial weights
    are `glorot`'s.

    Dropout follows from the seed of the step alone; outside of training there is none.

    Raises:
        ModelError: the features are no images of at least 6 x 6.
    """
    if len(feature_shape) not in (2, 3) or min(feature_shape[:2]) < 6:
        raise ModelError(
            "model.name=cnn_dropout: expected images [height, width] or [height, width, "
            f"channels] of at least 6 x 6, found features of shape {list(feature_shape)}. Set "
            "data.feature_shape if a row holds the pixels of an image, or choose "
            "model.name=softmax or mlp."
        )
    height, width, depth = (*feature_shape, 1)[:3]
    flat = ((height - 4) // 2) * ((width - 4) // 2) * _CHANNELS[1]
    shapes: dict[str, tuple[int, ...]] = {
        "conv1/kernel": (3, 3, depth, _CHANNELS[0]),
        "conv1/bias": (_CHANNELS[0],),
        "conv2/kernel": (3, 3, *_CHANNELS),
        "conv2/bias": (_CHANNELS[1],),
        "dense/kernel": (flat, _HIDDEN),
        "dense/bias": (_HIDDEN,),
        "logits/kernel": (_HIDDEN, num_classes),
        "logits/bias": (num_classes,),
    }

    def initial_weights(seed: int) -> Weights:
        return glorot_weights(seed, shapes)

    def network(weights: Sequence[Any], x: Any, seed: Any) -> Any:
        import tensorflow as tf

        def dropped(values: Any, layer: int) -> Any:
            if seed is None:
                return values
            own = tf.random.experimental.stateless_fold_in(seed, layer)
            return tf.nn.experimental.stateless_dropout(
                values, _RATES[layer], own, rng_alg="philox"
            )

        kernel1, bias1, kernel2, bias2, kernel3, bias3, kernel4, bias4 = weights
        hidden = tf.reshape(x, (-1, height, width, depth))
        hidden = tf.nn.relu(
            tf.nn.bias_add(tf.nn.conv2d(hidden, kernel1, strides=1, padding="VALID"), bias1)
        )
        # A channel's bias and the ReLU commute with the maximum: after the pool they cost a
        # quarter.
        pooled = tf.nn.max_pool2d(
            tf.nn.conv2d(hidden, kernel2, strides=1, padding="VALID"), 2, 2, padding="VALID"
        )
        hidden = dropped(tf.reshape(tf.nn.relu(tf.nn.bias_add(pooled, bias2)), (-1, flat)), 0)
        hidden = dropped(tf.nn.relu(tf.matmul(hidden, kernel3) + bias3), 1)
        return tf.matmul(hidden, kernel4) + bias4

    def logits(weights: Sequence[Any], x: Any) -> Any:
        return network(weights, x, None)

    return ModelSpec(
        "cnn_dropout",
        feature_shape,
        num_classes,
        tuple(shapes),
        initial_weights,
        logits,
        train_logits=network,
    )
