"""Models of which only some tensors are trained: `model.trainable`, and what a Keras model itself
holds still.

Clients get the tensors that are trained, and send them back; the others are constants of the
computation. Everything that uses a trained model (evaluation, files, the registry) has all of them.
"""

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from fedpipe.errors import ModelError, shorten
from fedpipe.models.spec import ModelSpec
from fedpipe.types import Weights


def restrict(model: ModelSpec, patterns: Sequence[str]) -> ModelSpec:
    """Return the model with those of its trained tensors whose names match a pattern, such as
    `dense/*`; the others are frozen.

    Raises:
        ModelError: a pattern matches no tensor that can be trained.
    """
    candidates = model.trainable or model.tensor_names
    chosen: set[str] = set()
    for pattern in patterns:
        matches = {name for name in candidates if fnmatchcase(name, pattern)}
        if not matches:
            raise ModelError(
                f"model.trainable: expected patterns of names of model.name={model.name}, "
                f"'{pattern}' matches none of {shorten(candidates, 12)}."
            )
        chosen |= matches
    if len(chosen) == len(model.tensor_names):
        return replace(model, trainable=None)
    return replace(model, trainable=tuple(name for name in candidates if name in chosen))


def frozen_weights(model: ModelSpec, weights: Weights) -> Weights:
    """Return those of a model's weights that are not trained."""
    if model.trainable is None:
        return {}
    return {name: weights[name] for name in model.tensor_names if name not in model.trainable}


def trained_part(model: ModelSpec, weights: Weights) -> ModelSpec:
    """Return the model of the tensors that are trained, all others as in `weights`; the model
    itself if all are trained.
    """
    frozen = frozen_weights(model, weights)
    if model.trainable is None:
        return model
    names = model.trainable
    train = model.train_logits

    def merged(trained: Sequence[Any]) -> list[Any]:
        import tensorflow as tf

        given = dict(zip(names, trained, strict=True))
        return [
            given[name] if name in given else tf.constant(frozen[name])
            for name in model.tensor_names
        ]

    def initial_weights(seed: int) -> Weights:
        first = model.initial_weights(seed)
        return {name: first[name] for name in names}

    def logits(trained: Sequence[Any], x: Any) -> Any:
        return model.logits(merged(trained), x)

    def train_logits(trained: Sequence[Any], x: Any, seed: Any) -> Any:
        if train is None:
            return logits(trained, x)
        return train(merged(trained), x, seed)

    return replace(
        model,
        tensor_names=names,
        initial_weights=initial_weights,
        logits=logits,
        train_logits=None if train is None else train_logits,
        keras=None,
        trainable=None,
    )


def with_frozen(model: ModelSpec, trained: Weights, frozen: Weights) -> Weights:
    """Return all weights of a model, in its order, of those that were trained and the others."""
    weights = {**frozen, **trained}
    return {name: weights[name] for name in model.tensor_names}
