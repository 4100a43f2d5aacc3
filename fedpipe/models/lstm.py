"""The character model of McMahan et al. 2017 (arXiv 1602.05629), section 3, as Reddi et al. 2021
(arXiv 2003.00295) have it.

Tokens are embedded in 8 dimensions; two LSTM layers of 256 units (Hochreiter and Schmidhuber 1997,
with forget gates); a dense layer to the logits. For the 90 tokens of Reddi et al. it has their
820,522 parameters. McMahan et al. count 866,578: that is the same network with 258 tokens and
peephole connections, 3 x 256 more for each layer, which it does not have here.

Padding stands at a sequence's end, so no output at a real token depends on it; at padding itself
nothing is predicted.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from fedpipe.errors import ModelError
from fedpipe.models.initial import glorot
from fedpipe.models.spec import ModelSpec
from fedpipe.seeding import generator
from fedpipe.types import Weights

_EMBEDDING = 8
_UNITS = 256


def lstm(
    feature_shape: tuple[int, ...],
    num_classes: int,
    tokens: int | None = None,
    positions: Literal["last", "all"] = "last",
) -> ModelSpec:
    """Return the network for int32 tokens [length], padded by 0.

    Initial weights: kernels, those of the recurrence too, are `glorot`'s; the embedding is U(-0.05,
    0.05) as in Keras; biases are 0, of the forget gates 1 (Jozefowicz et al. 2015).

    Args:
        feature_shape: (length of the longest sequence,).
        num_classes: number of labels.
        tokens: number of tokens, padding included; `None` is `num_classes`.
        positions: `last`: the label is predicted after the last token. `all`: after each token the
            next, after the last one the label; labels are tokens.

    Raises:
        ModelError: the features are no sequences, or with `all` there are more tokens than labels.
    """
    if len(feature_shape) != 1:
        raise ModelError(
            "model.name=lstm: expected sequences of tokens [length], found features of shape "
            f"{list(feature_shape)}. Choose another model."
        )
    vocabulary = tokens or num_classes
    if positions == "all" and vocabulary > num_classes:
        raise ModelError(
            f"model.positions=all: expected labels that are tokens, found {vocabulary} tokens and "
            f"{num_classes} labels. Set model.positions=last."
        )
    shapes: dict[str, tuple[int, ...]] = {"embedding": (vocabulary, _EMBEDDING)}
    for layer, width in (("lstm1", _EMBEDDING), ("lstm2", _UNITS)):
        shapes |= {
            f"{layer}/kernel": (width, 4 * _UNITS),
            f"{layer}/recurrent": (_UNITS, 4 * _UNITS),
            f"{layer}/bias": (4 * _UNITS,),
        }
    shapes |= {"logits/kernel": (_UNITS, num_classes), "logits/bias": (num_classes,)}

    def initial_weights(seed: int) -> Weights:
        weights = {name: glorot(seed, name, shape) for name, shape in shapes.items()}
        weights["embedding"] = (
            generator(seed, "weights", "embedding")
            .uniform(-0.05, 0.05, shapes["embedding"])
            .astype(np.float32)
        )
        for layer in ("lstm1", "lstm2"):
            weights[f"{layer}/bias"][_UNITS : 2 * _UNITS] = 1.0
        return weights

    def logits(weights: Sequence[Any], x: Any) -> Any:
        import tensorflow as tf

        embedding, kernel1, recurrent1, bias1, kernel2, recurrent2, bias2, kernel3, bias3 = weights
        hidden = tf.gather(embedding, x)
        hidden = _layer(_layer(hidden, kernel1, recurrent1, bias1), kernel2, recurrent2, bias2)
        if positions == "last":
            hidden = tf.gather(hidden, last_of(x), batch_dims=1)
            return tf.matmul(hidden, kernel3) + bias3
        flat = tf.matmul(tf.reshape(hidden, (-1, _UNITS)), kernel3) + bias3
        return tf.reshape(flat, tf.concat([tf.shape(x), [num_classes]], 0))

    return ModelSpec(
        *("lstm", feature_shape, num_classes, tuple(shapes), initial_weights, logits),
        takes=("int32",),
        targets=next_tokens if positions == "all" else None,
        tokens=vocabulary,
    )


def last_of(x: Any) -> Any:
    """Return int32 [n], the index of each sequence's last token; 0 of one that has none."""
    import tensorflow as tf

    return tf.reduce_max(tf.where(tf.not_equal(x, 0), tf.range(tf.shape(x)[1]), 0), axis=1)


def next_tokens(x: Any, y: Any) -> tuple[Any, Any]:
    """Return what follows each token of int32 [n, length], the label after the last, and bool [n,
    length], where there is a token.
    """
    import tensorflow as tf

    shifted = tf.concat([x[:, 1:], tf.zeros_like(x[:, :1])], axis=1)
    is_last = tf.equal(tf.range(tf.shape(x)[1])[tf.newaxis], last_of(x)[:, tf.newaxis])
    return tf.where(is_last, y[:, tf.newaxis], shifted), tf.not_equal(x, 0)


def following_tokens(x: Any, y: Any) -> tuple[Any, Any]:
    """Return what follows each token of int32 [n, length], and bool [n, length], where something
    does: not after the last token, nor at padding, which is 0.
    """
    import tensorflow as tf

    del y
    shifted = tf.concat([x[:, 1:], tf.zeros_like(x[:, :1])], axis=1)
    return shifted, tf.not_equal(shifted, 0)


def _layer(x: Any, kernel: Any, recurrent: Any, bias: Any) -> Any:
    """Return float32 [n, length, units], the outputs of an LSTM layer; gates in Keras' order:
    input, forget, cell, output.

    The inputs of all steps are projected at once. They are read from a `TensorArray`: the gradient
    of a slice would be as large as the whole sequence, at each step.
    """
    import tensorflow as tf

    count = tf.shape(x)[0]
    length = tf.shape(x)[1]
    projected = (
        tf.matmul(tf.reshape(tf.transpose(x, (1, 0, 2)), (-1, kernel.shape[0])), kernel) + bias
    )
    projected = tf.reshape(projected, tf.stack([length, count, 4 * _UNITS]))
    inputs = tf.TensorArray(tf.float32, length, element_shape=(None, 4 * _UNITS)).unstack(projected)
    outputs = tf.TensorArray(tf.float32, length, element_shape=(None, _UNITS))

    def step(i: Any, output: Any, cell: Any, outputs: Any) -> Any:
        gates = inputs.read(i) + tf.matmul(output, recurrent)
        take, keep, new, give = tf.split(gates, 4, axis=1)
        cell = tf.sigmoid(keep) * cell + tf.sigmoid(take) * tf.tanh(new)
        output = tf.sigmoid(give) * tf.tanh(cell)
        return i + 1, output, cell, outputs.write(i, output)

    zeros = tf.zeros(tf.stack([count, _UNITS]))
    _, _, _, outputs = tf.while_loop(
        lambda i, *_: i < length, step, (tf.constant(0), zeros, zeros, outputs)
    )
    return tf.transpose(outputs.stack(), (1, 0, 2))
