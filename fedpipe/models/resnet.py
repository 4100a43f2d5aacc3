"""ResNet-18 with group normalization, for CIFAR-100: Reddi et al. 2021 (arXiv 2003.00295), section
5, after He et al. 2016.

A 3x3 convolution of 64 channels; four stages of two blocks (64, 128, 256, 512 channels; all but the
first halve the image), each two 3x3 convolutions and a shortcut; the mean over the image; a dense
layer. Batch normalization, whose statistics clients cannot share, is replaced by group
normalization (Wu and He 2018, arXiv 1803.08494) with two groups, as Hsieh et al. 2020 (arXiv
1910.00189) advise. 11,220,132 parameters for 100 classes: the "11 million" of ResNet-18. The
authors' code has the blocks of ResNet v2, which normalize before they convolve; here they are those
of the first paper (arXiv 1512.03385).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fedpipe.errors import ModelError
from fedpipe.models.initial import glorot, he
from fedpipe.models.spec import ModelSpec
from fedpipe.types import Weights

_STAGES = (64, 128, 256, 512)
_BLOCKS = 2
_GROUPS = 2
_EPSILON = 1e-5


def resnet18_gn(feature_shape: tuple[int, ...], num_classes: int) -> ModelSpec:
    """Return the network for images [height, width] or [height, width, channels].

    Initial weights: convolutions `he`'s, the dense kernel `glorot`'s, scales 1, offsets and bias 0.

    Raises:
        ModelError: the features are no images of at least 8 x 8.
    """
    if len(feature_shape) not in (2, 3) or min(feature_shape[:2]) < 8:
        raise ModelError(
            "model.name=resnet18_gn: expected images [height, width] or [height, width, "
            f"channels] of at least 8 x 8, found features of shape {list(feature_shape)}. Set "
            "data.feature_shape if a row holds the pixels of an image, or choose "
            "model.name=softmax or mlp."
        )
    height, width, depth = (*feature_shape, 1)[:3]
    shapes = _shapes(depth, num_classes)

    def initial_weights(seed: int) -> Weights:
        return {name: _initial(seed, name, shape) for name, shape in shapes.items()}

    def logits(weights: Sequence[Any], x: Any) -> Any:
        import tensorflow as tf

        rest = iter(weights)
        hidden = _normalized(rest, tf.reshape(x, (-1, height, width, depth)), 1, relu=True)
        for stage in range(len(_STAGES)):
            for block in range(_BLOCKS):
                stride = 2 if stage and not block else 1
                inner = _normalized(
                    rest, _normalized(rest, hidden, stride, relu=True), 1, relu=False
                )
                shortcut = _normalized(rest, hidden, stride, relu=False) if stride == 2 else hidden
                hidden = tf.nn.relu(inner + shortcut)
        kernel, bias = rest
        return tf.matmul(tf.reduce_mean(hidden, axis=(1, 2)), kernel) + bias

    return ModelSpec(
        "resnet18_gn", feature_shape, num_classes, tuple(shapes), initial_weights, logits
    )


def _shapes(depth: int, num_classes: int) -> dict[str, tuple[int, ...]]:
    """Return the tensors in the order in which the network takes them: of each convolution its
    kernel, scale and offset.
    """
    shapes: dict[str, tuple[int, ...]] = {}

    def convolution(name: str, size: int, wide_in: int, wide_out: int) -> None:
        shapes.update(
            {
                f"{name}/kernel": (size, size, wide_in, wide_out),
                f"{name}/scale": (wide_out,),
                f"{name}/offset": (wide_out,),
            }
        )

    convolution("stem", 3, depth, _STAGES[0])
    wide = _STAGES[0]
    for stage, channels in enumerate(_STAGES, start=1):
        for block in range(1, _BLOCKS + 1):
            name = f"stage{stage}/block{block}"
            convolution(f"{name}/conv1", 3, wide, channels)
            convolution(f"{name}/conv2", 3, channels, channels)
            if wide != channels:
                convolution(f"{name}/shortcut", 1, wide, channels)
            wide = channels
    return shapes | {"logits/kernel": (wide, num_classes), "logits/bias": (num_classes,)}


def _initial(seed: int, name: str, shape: tuple[int, ...]) -> Any:
    if name.endswith("/scale"):
        return np.ones(shape, np.float32)
    if name.endswith("/offset"):
        return np.zeros(shape, np.float32)
    if name.startswith("logits/"):
        return glorot(seed, name, shape)
    return he(seed, name, shape)


def _normalized(weights: Iterator[Any], x: Any, stride: int, relu: bool) -> Any:
    """Return the convolution of x with the next kernel, group-normalized with the next scale and
    offset.
    """
    import tensorflow as tf

    hidden = tf.nn.conv2d(x, next(weights), strides=stride, padding="SAME")
    scale = next(weights)
    offset = next(weights)
    shape = tf.shape(hidden)
    channels = hidden.shape[-1]
    grouped = tf.reshape(
        hidden, tf.stack([shape[0], shape[1] * shape[2], _GROUPS, channels // _GROUPS])
    )
    mean, variance = tf.nn.moments(grouped, axes=(1, 3), keepdims=True)
    grouped = (grouped - mean) * tf.math.rsqrt(variance + _EPSILON)
    hidden = tf.ensure_shape(tf.reshape(grouped, shape), hidden.shape) * scale + offset
    if relu:
        return tf.nn.relu(hidden)
    return hidden
