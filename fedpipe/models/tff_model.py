"""A model of `tff.learning.models`, functional or of variables, as a `ModelSpec`.

TFF itself is not imported: the user's module has made the model with it, and here its methods are
called. Its loss and its metrics are not used: those of the task are. The contract: docs/models.md.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fedpipe.errors import ModelError
from fedpipe.models.keras_model import seeded_building
from fedpipe.models.spec import ModelSpec
from fedpipe.models.variable_model import ModelRequest, VariableCode, tensor_names, traced
from fedpipe.system.user_code import own_code
from fedpipe.types import Weights

_TFF = "tensorflow_federated"


def is_functional_model(value: Any) -> bool:
    """Return whether a value is a `tff.learning.models.FunctionalModel`."""
    return _is_of_tff(value, "FunctionalModel")


def is_variable_model(value: Any) -> bool:
    """Return whether a value is a `tff.learning.models.VariableModel`."""
    return _is_of_tff(value, "VariableModel")


def makes_model(value: Any) -> bool:
    """Return whether a value is a function without arguments, as TFF takes them to make models."""
    return (
        callable(value) and not isinstance(value, type) and not hasattr(value, "predict_on_batch")
    )


def _is_of_tff(value: Any, name: str) -> bool:
    return any(
        kind.__name__ == name and kind.__module__.startswith(_TFF) for kind in type(value).__mro__
    )


def variable_spec(model: Any, request: ModelRequest) -> ModelSpec:
    """Return a `VariableModel` as fedpipe sees models.

    Args:
        model: what `request.make()` returned for seed 1.
        request: what was asked for.

    Raises:
        ModelError: it cannot be trained here.
    """
    _refuse_batch_norm(request)
    takes_tokens = _takes_tokens(request, model.input_spec)
    variables = [*model.trainable_variables, *model.non_trainable_variables]
    names = tensor_names(variables)
    trained = len(model.trainable_variables)
    keras = getattr(model, "_keras_model", None)

    def initial_weights(seed: int) -> Weights:
        again = _made(request, seed)
        arrays = [
            variable.numpy()
            for variable in (*again.trainable_variables, *again.non_trainable_variables)
        ]
        return _named(request, names, arrays, variables)

    def call(x: Any, training: bool) -> Any:
        return model.predict_on_batch(x, training)

    code = VariableCode(
        variables,
        names,
        [number < trained for number in range(len(variables))],
        call,
        lambda: getattr(keras, "losses", ()),
    )
    tokens = request.num_classes if takes_tokens else None
    return traced(request, code, initial_weights, tokens, takes_tokens)


def functional_spec(model: Any, request: ModelRequest) -> ModelSpec:
    """Return a `FunctionalModel` as fedpipe sees models. Arguments and errors as those of
    `variable_spec`.
    """
    import tensorflow as tf

    _refuse_batch_norm(request)
    takes_tokens = _takes_tokens(request, model.input_spec)
    trainable, frozen = model.initial_weights
    named = [
        *((f"trainable/{name}", value) for name, value in _leaves(trainable)),
        *((f"frozen/{name}", value) for name, value in _leaves(frozen)),
    ]
    names = [name for name, _ in named]
    # Stand-ins, so that the weights have the place of variables: they are swapped by position.
    variables = [tf.Variable(np.asarray(value, np.float32)) for _, value in named]

    def initial_weights(seed: int) -> Weights:
        again = _made(request, seed)
        arrays = [value for part in again.initial_weights for _, value in _leaves(part)]
        return _named(request, names, arrays, variables)

    def call(x: Any, training: bool) -> Any:
        tensors = [variable.value() for variable in variables]
        weights = tf.nest.pack_sequence_as(model.initial_weights, tensors)
        return _predict(model, weights, x, training)

    code = VariableCode(
        variables,
        names,
        [name.startswith("trainable/") for name in names],
        call,
        lambda: (),
    )
    tokens = request.num_classes if takes_tokens else None
    return traced(request, code, initial_weights, tokens, takes_tokens)


def _predict(model: Any, weights: Any, x: Any, training: bool) -> Any:
    """Return the outputs. A model that `functional_model_from_keras` made runs in a graph that no
    eager code surrounds: it is traced into one, which is copied to here.
    """
    import tensorflow as tf

    try:
        return model.predict_on_batch(weights, x, training)
    except Exception as err:
        if "KerasFunctionalModelError" not in (type(err).__name__ + str(err)) and (
            "only usable inside" not in str(err)
        ):
            raise
    predict = model._predict_on_batch_fn.python_function
    tensors = [x, *tf.nest.flatten(weights)]
    with tf.Graph().as_default() as graph:
        inputs = [
            tf.compat.v1.placeholder(t.dtype, t.shape, f"in{i}") for i, t in enumerate(tensors)
        ]
        structure = tf.nest.pack_sequence_as(weights, inputs[1:])
        outputs = tf.identity(predict(structure, inputs[0], training), name="outputs")
    (copied,) = tf.graph_util.import_graph_def(
        graph.as_graph_def(),
        {f"in{i}:0": tensor for i, tensor in enumerate(tensors)},
        [outputs.name],
        name="functional",
    )
    copied.set_shape(outputs.shape)
    return copied


def _leaves(values: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the arrays in a structure, in the order of `tf.nest.flatten`, each with its path."""
    if isinstance(values, Mapping):
        for key in sorted(values):
            yield from _leaves(values[key], f"{path}/{key}" if path else str(key))
    elif isinstance(values, Sequence) and not isinstance(values, str):
        for number, value in enumerate(values):
            yield from _leaves(value, f"{path}/{number}" if path else str(number))
    else:
        yield path or "0", values


def _made(request: ModelRequest, seed: int) -> Any:
    with own_code(request.where, ModelError, "building the model"), seeded_building(seed):
        return request.make()


def _named(
    request: ModelRequest, names: Sequence[str], arrays: Sequence[Any], like: Sequence[Any]
) -> Weights:
    if [np.shape(array) for array in arrays] != [tuple(variable.shape) for variable in like]:
        raise ModelError(
            f"{request.where}: expected weights of one shape whatever the seed, found others. "
            "Return the same architecture each time."
        )
    return {name: np.asarray(array, np.float32) for name, array in zip(names, arrays, strict=True)}


def _refuse_batch_norm(request: ModelRequest) -> None:
    if request.config.batch_norm != "refused":
        raise ModelError(
            f"model.batch_norm={request.config.batch_norm} is set but {request.where} is a model "
            "of TFF. Return the Keras model itself, or remove the setting."
        )


def _takes_tokens(request: ModelRequest, spec: Any) -> bool:
    import tensorflow as tf

    values = list(spec.values()) if isinstance(spec, Mapping) else list(spec)
    features = values[0]
    if not isinstance(features, tf.TensorSpec):
        raise ModelError(
            f"{request.where}: expected an input_spec of one tensor of features, found "
            f"{type(features).__name__}."
        )
    if not features.dtype.is_integer:
        return False
    if request.kind != "tokens":
        raise ModelError(
            f"{request.where}: expected features of float32 in input_spec, found "
            f"{features.dtype.name}. For a model of tokens return the Keras model itself."
        )
    return True


def unwrapped(request: ModelRequest) -> ModelRequest:
    """Return the request of a function that returns a function that makes the model, as TFF's
    `model_fn` does, as one that returns the model.
    """
    make: Callable[[], Any] = request.make
    return replace(request, make=lambda: make()())
