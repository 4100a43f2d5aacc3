"""A model of the user's own: `model.name: mypackage.module:function`. The contract:
docs/models.md.
"""

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fedpipe.config.model import ModelConfig
from fedpipe.config.task import TaskKind
from fedpipe.errors import ModelError
from fedpipe.models.keras_model import is_keras_model, keras_spec, seeded_building
from fedpipe.models.lstm import following_tokens
from fedpipe.models.spec import ModelSpec
from fedpipe.models.tff_model import (
    functional_spec,
    is_functional_model,
    is_variable_model,
    makes_model,
    unwrapped,
    variable_spec,
)
from fedpipe.models.variable_model import ModelRequest
from fedpipe.system.user_code import import_own, own_code
from fedpipe.system.user_options import OptionsReader, read_options
from fedpipe.types import Weights

_TENSOR_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_./-]{0,199}")
"""Names that TensorFlow takes for a variable in a SavedModel."""
_NO_VARIABLES = (
    "expected logits to be a function of the weights alone, found that it {does} a "
    "tf.Variable{which}, as Keras layers do: it would not be trained. Declare its tensors in "
    "tensor_names and initial_weights, or return the Keras model itself (docs/models.md)."
)


_FORMS = (
    (is_keras_model, keras_spec),
    (is_functional_model, functional_spec),
    (is_variable_model, variable_spec),
)
_built: dict[tuple[Any, ...], tuple[Any, ModelSpec]] = {}
"""By the function's id and what it was asked for: the function, so that its id stays taken, and
the model.
"""


class _VariableMade(Exception):
    """The user's code made a variable."""


def build_own(
    config: ModelConfig,
    feature_shape: tuple[int, ...],
    num_classes: int,
    project: Path | None = None,
    kind: TaskKind = "classification",
) -> ModelSpec:
    """Return what the user's function returns for these features and classes, as a `ModelSpec`,
    once it is known to be a model. The same function and settings give the same object again.

    Args:
        config: the settings under `model`.
        feature_shape: of one example.
        num_classes: size of the last axis of the outputs.
        project: folder in which the module is looked for.
        kind: `task.kind`.

    Raises:
        ModelError: it cannot be imported, raises, or returns something else; the cause is kept.
    """
    build = import_own(config.name, project, "model.name", ModelError)
    where = f"model.name={config.name}"
    reader = OptionsReader(where, build, given=2)
    (options,) = read_options("model.options", config.options, [reader], ModelError)
    key = (id(build), kind, tuple(feature_shape), num_classes, config.model_dump_json())
    if key in _built:
        return _built[key][1]
    request = ModelRequest(
        where,
        tuple(feature_shape),
        num_classes,
        partial(build, feature_shape, num_classes, **options),
        config,
        kind,
    )
    spec = _checked_spec(request)
    _built[key] = (build, spec)
    return spec


def _checked_spec(request: ModelRequest) -> ModelSpec:
    where = request.where
    with own_code(where, ModelError, "building the model"), seeded_building(1):
        built = request.make()
        if makes_model(built) and not is_keras_model(built):
            request = unwrapped(request)
            built = built()
    for is_kind, spec_of in _FORMS:
        if is_kind(built):
            return _remembering(spec_of(built, request))
    spec = built
    if not isinstance(spec, ModelSpec):
        kind_of_result = f"{type(spec).__module__}.{type(spec).__name__}"
        raise ModelError(
            f"{where}: expected it to return a tf.keras.Model, a model of tff.learning.models or a "
            f"fedpipe.models.ModelSpec, found {kind_of_result.removeprefix('builtins.')}."
        )
    feature_shape = request.feature_shape
    num_classes = request.num_classes
    if (tuple(spec.feature_shape), spec.num_classes) != (tuple(feature_shape), num_classes):
        raise ModelError(
            f"{where}: expected a model for features of shape {list(feature_shape)} and "
            f"{num_classes} classes, found feature_shape={list(spec.feature_shape)} and "
            f"num_classes={spec.num_classes}. Return the two that the function is given."
        )
    if request.kind == "tokens" and spec.targets is None:
        spec = replace(spec, targets=following_tokens)
    weights = _check_weights(where, spec)
    _check_logits(where, spec, list(weights.values()))
    return spec


def _remembering(spec: ModelSpec) -> ModelSpec:
    """Return a model whose function builds it anew for initial weights: they are checked once, and
    drawn once for each seed.
    """
    _check_weights(f"model.name={spec.name}", spec)
    drawn: dict[int, Weights] = {}

    def initial_weights(seed: int) -> Weights:
        if seed not in drawn:
            drawn[seed] = spec.initial_weights(seed)
        return dict(drawn[seed])

    return replace(spec, initial_weights=initial_weights)


def _check_weights(where: str, spec: ModelSpec) -> Weights:
    names = spec.tensor_names
    if isinstance(names, str) or not names or not all(isinstance(name, str) for name in names):
        raise ModelError(
            f"{where}: expected tensor_names to be a tuple of at least one text, found {names!r}."
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ModelError(
            f"{where}: expected each tensor name once, found {', '.join(twice)} more often. "
            "Rename one of them."
        )
    for name in names:
        if not _TENSOR_NAME.fullmatch(name):
            raise ModelError(
                f"{where}: expected tensor names of 1 to 200 letters (A to Z), digits and . _ - "
                "/, beginning with a letter, a digit or a dot, as TensorFlow saves them, found "
                f"{name!r:.80}. Rename it."
            )
    with own_code(where, ModelError, "making initial weights"):
        first = spec.initial_weights(1)
        again = spec.initial_weights(1)
        of_other_seed = spec.initial_weights(2)
    if not isinstance(first, dict) or tuple(first) != tuple(names):
        actual = ", ".join(map(str, first)) if isinstance(first, dict) else type(first).__name__
        raise ModelError(
            f"{where}: expected initial weights to be a dict with the keys {', '.join(names)}, in "
            f"this order, found {actual}."
        )
    for name, value in first.items():
        if not isinstance(value, np.ndarray):
            raise ModelError(
                f"{where}: expected initial weights to be NumPy arrays of float32, '{name}' is "
                f"{type(value).__name__}. Write np.asarray(value, np.float32)."
            )
        if value.dtype != np.float32:
            raise ModelError(
                f"{where}: expected initial weights of float32, '{name}' is {value.dtype}. Write "
                ".astype(np.float32)."
            )
        if not np.isfinite(value).all():
            raise ModelError(
                f"{where}: expected finite initial weights, '{name}' has NaN or infinity."
            )
        if not np.array_equal(value, again[name]):
            raise ModelError(
                f"{where}: expected the same initial weights for the same seed, '{name}' differs. "
                "Draw with fedpipe.seeding.generator(seed, name)."
            )
        shape = np.shape(np.asarray(of_other_seed.get(name)))
        if shape != value.shape:
            raise ModelError(
                f"{where}: expected initial weights of one shape whatever the seed, '{name}' has "
                f"{list(value.shape)} for seed 1 and {list(shape)} for seed 2."
            )
    return first


def _check_logits(where: str, spec: ModelSpec, weights: list[Any]) -> None:
    """Raise ModelError unless logits are what `ModelSpec` says, at once and in a graph, where they
    are trained and evaluated.
    """
    import tensorflow as tf

    tokens = "int32" in spec.takes
    features = np.ones((2, *spec.feature_shape), np.int32 if tokens else np.float32)
    _check_result(
        where,
        spec,
        _without_variables(where, lambda: spec.logits(weights, tf.constant(features))),
        "logits",
    )
    if spec.train_logits is not None:
        train = spec.train_logits
        seed = tf.constant([1, 1], tf.int64)
        _check_result(
            where,
            spec,
            _without_variables(where, lambda: train(weights, tf.constant(features), seed)),
            "train_logits",
        )

    def in_a_graph(tensors: Sequence[Any], x: Any) -> Any:
        return spec.logits(list(tensors), x)

    sizes = [None] * features.ndim if tokens else [None, *spec.feature_shape]
    specs = (
        [tf.TensorSpec(tensor.shape, tf.float32) for tensor in weights],
        tf.TensorSpec(sizes, features.dtype),
    )
    graph = _without_variables(
        where, lambda: tf.function(in_a_graph, autograph=False).get_concrete_function(*specs)
    )
    if graph.variables:
        names = ", ".join(
            sorted(variable.name.partition(":")[0] for variable in graph.variables)[:3]
        )
        raise ModelError(f"{where}: {_NO_VARIABLES.format(does='reads', which=f' ({names})')}")


def _without_variables(where: str, compute: Any) -> Any:
    """Return `compute()`. Raises ModelError if it raises, or makes variables."""
    import tensorflow as tf

    def refuse(_next_creator: Any, **_kwargs: Any) -> Any:
        raise _VariableMade

    try:
        with _own(where), tf.variable_creator_scope(refuse):
            return compute()
    except ModelError as err:
        cause: BaseException | None = err
        while cause is not None and not isinstance(cause, _VariableMade):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        raise ModelError(f"{where}: {_NO_VARIABLES.format(does='makes', which='')}") from err


def _own(where: str) -> AbstractContextManager[None]:
    return own_code(where, ModelError, "computing logits")


def _check_result(where: str, spec: ModelSpec, result: Any, function: str) -> None:
    import tensorflow as tf

    with _own(where):
        logits = tf.convert_to_tensor(result)
    shape = tuple(logits.shape)
    dtype = logits.dtype
    expected = (
        (2, spec.num_classes)
        if spec.targets is None
        else (2, spec.feature_shape[0], spec.num_classes)
    )
    if shape != expected:
        raise ModelError(
            f"{where}: expected {function} of shape {list(expected)} for two examples, found "
            f"{list(shape)}."
        )
    if dtype != tf.float32:
        raise ModelError(
            f"{where}: expected {function} of float32, found {dtype.name}. Write tf.cast(..., "
            "tf.float32)."
        )
