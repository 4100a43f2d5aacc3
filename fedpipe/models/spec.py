"""A model, as fedpipe sees it: pure functions of its weights.

A model is its initial weights and a function from weights and features to logits. Everything else
follows from these two: client work differentiates them, evaluation counts with them, the export
wraps them. TensorFlow is imported when a function runs, so that naming a model costs nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fedpipe.types import Weights


@dataclass(frozen=True)
class ModelSpec:
    """One architecture, sized for its data.

    Attributes:
        name: as in `model.name`.
        feature_shape: shape of one example's features, for example (28, 28).
        num_classes: number of classes; labels are 0..num_classes - 1.
        tensor_names: name of each weight tensor, in the order of all weights.
        initial_weights: seed -> float32 weights by name; the same seed gives the same bits.
        logits: (weights in the order of `tensor_names`, features [n, *feature_shape]) -> float32
            [n, num_classes], in TensorFlow ops; pure and differentiable. Features are float32, or
            int32 tokens if `takes` has them; of sequences of variable length a batch has its own
            longest one's length, and 0 pads.
        keras: () -> an uncompiled `tf.keras.Model` of the same function, whose weights are the
            initial ones of seed 0; what `fedavg_reference` trains. None: that algorithm refuses the
            model.
        takes: dtypes of the features that it takes, as they are in the shards: `uint8` and
            `float32`, or `int32` for tokens.
        train_logits: (weights, features, seed int64 [2]) -> logits while training, where that
            differs, as with dropout: whatever is drawn follows from the seed alone, which is
            another one for each round, client and step. None: `logits` trains too.
        targets: (features, labels [n]) -> (labels int32 [n, length], bool [n, length]: which of
            them count), for a model whose logits are float32 [n, length, num_classes]. None: one
            prediction for each example.
        tokens: tokens are 0..tokens - 1; None where features are no tokens.
        trainable: names of the tensors that are trained, in the order of `tensor_names`; the others
            stay as they are initially. None: all.
    """

    name: str
    feature_shape: tuple[int, ...]
    num_classes: int
    tensor_names: tuple[str, ...]
    initial_weights: Callable[[int], Weights]
    logits: Callable[[Sequence[Any], Any], Any]
    keras: Callable[[], Any] | None = None
    takes: tuple[str, ...] = ("uint8", "float32")
    train_logits: Callable[[Sequence[Any], Any, Any], Any] | None = None
    targets: Callable[[Any, Any], tuple[Any, Any]] | None = None
    tokens: int | None = None
    trainable: tuple[str, ...] | None = None
