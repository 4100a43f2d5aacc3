"""A `tf.keras.Model` of the user's own, Sequential, functional or subclassed, as a `ModelSpec`.

Its variables are swapped for the weights that a client has (`variable_model`), so that layers run
as they are. Initial weights are those of Keras' initializers: the model is built again for each
seed, with Keras' and TensorFlow's own seeds set from it. The contract: docs/models.md.
"""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from fedpipe.errors import ModelError, shorten
from fedpipe.models.spec import ModelSpec
from fedpipe.models.variable_model import ModelRequest, VariableCode, tensor_names, traced
from fedpipe.seeding import derive_seed
from fedpipe.system.user_code import own_code
from fedpipe.types import Weights

_lock = threading.RLock()


@contextmanager
def seeded_building(seed: int) -> Iterator[None]:
    """Let Keras' initializers, and what else draws from the global seeds of TensorFlow, NumPy and
    Python, follow from a seed in the block, and let Keras number its layers from 1.

    The state of Python's and NumPy's generators is as before after it.
    """
    import tensorflow as tf
    from keras.src import backend

    with _lock:
        python = random.getstate()
        numpy = np.random.get_state()  # the state that the user's code may draw from
        keras = getattr(backend._SEED_GENERATOR, "generator", None)
        tf.keras.utils.set_random_seed(derive_seed(seed, "weights") % 2**32)
        tf.keras.backend.reset_uids()
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
            backend._SEED_GENERATOR.generator = keras


def is_keras_model(value: Any) -> bool:
    """Return whether a value is a model of Keras."""
    import tensorflow as tf

    return isinstance(value, tf.keras.Model)


def keras_spec(model: Any, request: ModelRequest) -> ModelSpec:
    """Return a Keras model as fedpipe sees models.

    Args:
        model: what `request.make()` returned for seed 1, in `seeded_building`.
        request: what was asked for.

    Raises:
        ModelError: it is a model that cannot be trained here; the error says which one can.
    """
    where = request.where
    _refuse_other_inputs(where, model)
    takes_tokens = _takes_tokens(model)
    _build(request, model, takes_tokens)
    layers = list(model._flatten_layers())
    _refuse_other_dtypes(where, layers)
    _fix_batch_norm(request, layers)
    variables = [variable for variable in model.weights if variable.dtype.name == "float32"]
    names = tensor_names(variables)
    trained = {id(variable) for variable in model.trainable_weights}
    if not trained:
        raise ModelError(
            f"{where}: expected a model with weights to train, found none. Add a layer, or leave "
            "one trainable."
        )
    shapes = [tuple(variable.shape) for variable in variables]

    def initial_weights(seed: int) -> Weights:
        with own_code(where, ModelError, "building the model"), seeded_building(seed):
            again = request.make()
            _build(request, again, takes_tokens)
        arrays = [
            np.asarray(variable.numpy())
            for variable in again.weights
            if variable.dtype.name == "float32"
        ]
        if [array.shape for array in arrays] != shapes:
            raise ModelError(
                f"{where}: expected weights of one shape whatever the seed, found others for seed "
                f"{seed}. Return the same architecture each time."
            )
        return dict(zip(names, arrays, strict=True))

    def call(x: Any, training: bool) -> Any:
        return model(x, training=training)

    code = VariableCode(
        variables,
        names,
        [id(variable) in trained for variable in variables],
        call,
        lambda: model.losses,
    )
    for layer in layers:
        if hasattr(layer, "_could_use_gpu_kernel"):
            layer._could_use_gpu_kernel = False  # a choice between two graphs, in a worker of CPUs
    keras = None
    if len(trained) == len(variables) and request.kind == "classification":
        keras = _with_softmax(request, takes_tokens)
    return traced(request, code, initial_weights, _tokens(model, layers), takes_tokens, keras)


def _refuse_other_inputs(where: str, model: Any) -> None:
    inputs = getattr(model, "inputs", None)
    if inputs is not None and len(inputs) != 1:
        names = [tensor.name for tensor in inputs]
        raise ModelError(
            f"{where}: expected a model of one input, the features of an example, found "
            f"{len(names)}: {shorten(names, 3)}. Take them apart in the model."
        )


def _takes_tokens(model: Any) -> bool:
    """Return whether features are int32 tokens: the input says so, or there is an Embedding."""
    import tensorflow as tf

    inputs = getattr(model, "inputs", None)
    if inputs and inputs[0].dtype.is_integer:
        return True
    return any(isinstance(layer, tf.keras.layers.Embedding) for layer in model._flatten_layers())


def _tokens(model: Any, layers: list[Any]) -> int | None:
    """Return the number of tokens: of the Embedding of the features; None where that is not
    known."""
    import tensorflow as tf

    embeddings = [layer for layer in layers if isinstance(layer, tf.keras.layers.Embedding)]
    if len(embeddings) > 1:  # one may be of positions
        inputs = getattr(model, "inputs", None) or []
        embeddings = [
            layer
            for layer in embeddings
            if any(
                layer.get_input_at(node) is tensor
                for tensor in inputs
                for node in range(len(layer.inbound_nodes))
            )
        ]
    sizes = {layer.input_dim for layer in embeddings}
    return sizes.pop() if len(sizes) == 1 else None


def _build(request: ModelRequest, model: Any, takes_tokens: bool) -> None:
    """Make the variables of a model that has none yet. Raises ModelError if it does not take the
    features.
    """
    import tensorflow as tf

    if not is_keras_model(model):
        raise ModelError(
            f"{request.where}: expected a Keras model each time, found {type(model).__name__}."
        )
    shape = request.feature_shape
    example = np.zeros((1, *shape), np.int32 if takes_tokens else np.float32)
    with own_code(request.where, ModelError, f"building it for features of shape {list(shape)}"):
        model(tf.constant(example), training=False)


def _refuse_other_dtypes(where: str, layers: list[Any]) -> None:
    for layer in layers:
        policy = layer.dtype_policy
        if policy.compute_dtype not in ("float32", "int32", "int64", None) or (
            policy.variable_dtype not in ("float32", "int32", "int64", None)
        ):
            raise ModelError(
                f"{where}: expected layers of float32, '{layer.name}' has the policy "
                f"{policy.name}. fedpipe computes in float32: remove the dtype or the policy of "
                "mixed precision."
            )
    for layer in layers:
        for variable in layer.trainable_weights:
            if variable.dtype.name != "float32":
                raise ModelError(
                    f"{where}: expected weights of float32, '{variable.name}' is "
                    f"{variable.dtype.name}. fedpipe computes in float32."
                )


def _fix_batch_norm(request: ModelRequest, layers: list[Any]) -> None:
    """Refuse batch normalization, or let it use its first statistics, as `model.batch_norm`
    says.
    """
    import tensorflow as tf

    norms = [layer for layer in layers if isinstance(layer, tf.keras.layers.BatchNormalization)]
    if not norms:
        if request.config.batch_norm != "refused":
            raise ModelError(
                f"model.batch_norm={request.config.batch_norm} is set but {request.where} has no "
                "BatchNormalization. Remove the setting."
            )
        return
    if request.config.batch_norm == "refused":
        raise ModelError(
            f"{request.where}: expected a model without BatchNormalization, whose statistics of a "
            f"client's batches are no gradients, found {shorten([norm.name for norm in norms], 3)}."
            " Use GroupNormalization, or set model.batch_norm=frozen."
        )
    for norm in norms:
        norm._get_training_value = _never_training


def _never_training(_training: Any = None) -> bool:
    return False


def _with_softmax(request: ModelRequest, takes_tokens: bool) -> Any:
    def keras() -> Any:
        import tensorflow as tf

        return tf.keras.Sequential(
            [
                tf.keras.layers.InputLayer(
                    input_shape=request.feature_shape, dtype="int32" if takes_tokens else None
                ),
                request.make(),
                tf.keras.layers.Softmax(),
            ]
        )

    return keras
