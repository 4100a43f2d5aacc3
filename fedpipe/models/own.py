"""A model of the user's own: `model.name: mypackage.module:function`. The contract: docs/models.md."""

import importlib

import numpy as np

from fedpipe.errors import ModelError
from fedpipe.models.spec import ModelSpec


def build_own(name: str, feature_shape: tuple[int, ...], num_classes: int) -> ModelSpec:
    """Return what the user's function returns for these features and classes, once it is known to be a model.

    Raises:
        ModelError: it cannot be imported, raises, or returns something else; the cause is kept.
    """
    module, _, function = name.partition(":")
    try:
        spec = getattr(importlib.import_module(module), function)(feature_shape, num_classes)
    except ModelError:
        raise
    except Exception as err:
        raise _failed(name, "a function that builds a model", err) from err
    if not isinstance(spec, ModelSpec):
        raise ModelError(f"model.name={name}: expected it to return a fedpipe.models.ModelSpec, found {type(spec).__name__}.")
    _check(name, spec)
    return spec


def _check(name: str, spec: ModelSpec) -> None:
    try:
        first, again = spec.initial_weights(1), spec.initial_weights(1)
    except Exception as err:
        raise _failed(name, "initial weights", err) from err
    if tuple(first) != tuple(spec.tensor_names):
        raise ModelError(
            f"model.name={name}: expected initial weights called {', '.join(spec.tensor_names)}, in this order, found {', '.join(first)}."
        )
    for tensor, value in first.items():
        if not isinstance(value, np.ndarray) or value.dtype != np.float32 or not np.isfinite(value).all():
            found = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
            raise ModelError(f"model.name={name}: expected finite float32 arrays as initial weights, '{tensor}' is {found}.")
        if not np.array_equal(value, again[tensor]):
            raise ModelError(
                f"model.name={name}: expected the same initial weights for the same seed, '{tensor}' differs. Draw with "
                "fedpipe.seeding.generator(seed, name)."
            )
    features = np.ones((2, *spec.feature_shape), np.int32 if "int32" in spec.takes else np.float32)
    try:
        shape = tuple(np.shape(spec.logits(list(first.values()), features)))
    except Exception as err:
        raise _failed(name, "logits", err) from err
    wanted = (2, spec.num_classes) if spec.targets is None else (2, spec.feature_shape[0], spec.num_classes)
    if shape != wanted:
        raise ModelError(f"model.name={name}: expected logits of shape {list(wanted)} for two examples, found {list(shape)}.")


def _failed(name: str, what: str, err: Exception) -> ModelError:
    said = " ".join(str(err).split())[:300]
    return ModelError(f"model.name={name}: expected {what}, it raised {type(err).__name__}: {said}.")
