"""A model of variables, as Keras and TFF have them, traced into functions of weights.

    variables w, call(x, training)  --trace, with `variable_swap` and `keras_draws`-->
        logits(weights, x)   and   train_logits(weights, x, seed)

The trace is a TensorFlow graph. It is made once, in this process; client work, evaluation and
exports call it as a function, and differentiate it by the weights.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fedpipe.config.model import ModelConfig
from fedpipe.config.task import TaskKind
from fedpipe.errors import ModelError, shorten
from fedpipe.models.keras_draws import seeded_draws, unseeded_draws
from fedpipe.models.spec import ModelSpec
from fedpipe.models.variable_swap import swapped
from fedpipe.system.user_code import own_code
from fedpipe.types import Weights

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_./-]")
_PASSES_THROUGH = ("Identity", "Reshape", "Squeeze", "Cast", "EnsureShape")
_ACTIVATIONS = {"Softmax": "softmax", "Sigmoid": "sigmoid", "LogSoftmax": "log-softmax"}


@dataclass(frozen=True)
class ModelRequest:
    """What a model of the user's own is asked for.

    Attributes:
        where: the setting that names it, for errors, such as `model.name=own.model:build`.
        feature_shape: of one example.
        num_classes: size of the last axis of its outputs.
        make: returns the model, as the user's function does for these.
        config: the settings under `model`.
        kind: `task.kind`.
    """

    where: str
    feature_shape: tuple[int, ...]
    num_classes: int
    make: Callable[[], Any]
    config: ModelConfig = field(default_factory=ModelConfig)
    kind: TaskKind = "classification"


@dataclass(frozen=True)
class VariableCode:
    """A model of variables.

    Attributes:
        variables: all float32 variables that its code may read.
        names: of each a name of its own.
        trainable: of each whether it is trained.
        call: (features, training) -> outputs.
        added_losses: returns the losses that the last call added beside the task's.
    """

    variables: Sequence[Any]
    names: Sequence[str]
    trainable: Sequence[bool]
    call: Callable[[Any, bool], Any]
    added_losses: Callable[[], Sequence[Any]]


def tensor_names(variables: Sequence[Any]) -> list[str]:
    """Return the variables' names, such as `dense/kernel`, each made another one where it occurs
    twice.
    """
    names: list[str] = []
    for variable in variables:
        name = _NOT_IN_A_NAME.sub("_", variable.name.rpartition(":")[0] or variable.name)
        name = name.lstrip("_/-") or "variable"
        number = 1
        unique = name
        while unique in names:
            unique = f"{name}_{number}"
            number += 1
        names.append(unique)
    return names


def traced(
    request: ModelRequest,
    code: VariableCode,
    initial_weights: Callable[[int], Weights],
    tokens: int | None,
    takes_tokens: bool,
    keras: Callable[[], Any] | None = None,
) -> ModelSpec:
    """Return a model of variables as pure functions of its weights.

    Args:
        request: what was asked for.
        code: the model.
        initial_weights: seed -> weights by name.
        tokens: number of its tokens; None where features are no tokens, or their number is not
            known.
        takes_tokens: whether features are int32.
        keras: see `ModelSpec.keras`.

    Raises:
        ModelError: the code raises, or its outputs are others than a model's.
    """
    import tensorflow as tf

    kind = tf.int32 if takes_tokens else tf.float32
    infer = _trace(request, code, kind, training=False)
    train = _trace(request, code, kind, training=True)
    constants = {function: _constants(request, function) for function in (infer, train)}
    same = _definition(infer) == _definition(train)
    by_token = len(infer.structured_outputs.shape) == 3
    longest = request.feature_shape[0] if takes_tokens else None

    def compute(function: Any, weights: Sequence[Any], x: Any, seed: Any) -> Any:
        tensors = [tf.convert_to_tensor(tensor, tf.float32) for tensor in weights]
        x = tf.convert_to_tensor(x)
        if longest is not None:
            length = tf.shape(x)[1]
            # The model sees sequences as long as in the shards, whatever the others of a batch are.
            # Of a longer one, which training had none of, the end is cut off.
            x = tf.pad(x[:, :longest], [[0, 0], [0, tf.maximum(longest - length, 0)]])
            x = tf.ensure_shape(x, (None, longest))
        else:
            # As bits: TensorFlow would also differentiate by the features, which nothing needs and
            # some layers cannot.
            x = tf.bitcast(x, tf.int32)
        # The constants that the code made before: a graph of another process has none of them.
        function.set_external_captures([tf.constant(value) for value in constants[function]])
        outputs = function(tensors, x, seed)
        if by_token and longest is not None:
            return outputs[:, :length]
        return outputs

    def logits(weights: Sequence[Any], x: Any) -> Any:
        return compute(infer, weights, x, tf.zeros((2,), tf.int64))

    def train_logits(weights: Sequence[Any], x: Any, seed: Any) -> Any:
        return compute(train, weights, x, tf.cast(seed, tf.int64))

    names = tuple(code.names)
    trained = tuple(
        name for name, is_trained in zip(names, code.trainable, strict=True) if is_trained
    )
    return ModelSpec(
        name=request.config.name,
        feature_shape=request.feature_shape,
        num_classes=request.num_classes,
        tensor_names=names,
        initial_weights=initial_weights,
        logits=logits,
        keras=keras if same else None,  # Keras draws dropout from no seed of ours
        takes=("int32",) if takes_tokens else ("uint8", "float32"),
        train_logits=None if same else train_logits,
        tokens=tokens,
        trainable=None if trained == names else trained,
    )


def _trace(request: ModelRequest, code: VariableCode, kind: Any, training: bool) -> Any:
    """Return the concrete function (weights, features, seed int64 [2]) -> outputs; float features
    are given as their bits.
    """
    import tensorflow as tf

    where = request.where
    shape = request.feature_shape
    specs = (
        [tf.TensorSpec(variable.shape, tf.float32) for variable in code.variables],
        tf.TensorSpec((None, *shape), tf.int32),
        tf.TensorSpec((2,), tf.int64),
    )

    assigned: list[str] = []

    def compute(weights: Any, x: Any, seed: Any) -> Any:
        features = x if kind == tf.int32 else tf.bitcast(x, tf.float32)
        with swapped(code.variables, weights, assigned), seeded_draws(seed):
            outputs = code.call(features, training)
            _refuse_added_losses(where, code)
        return _checked_outputs(request, outputs)

    try:
        with own_code(where, ModelError, f"computing outputs for features of shape {list(shape)}"):
            function = tf.function(compute, autograph=False)
            concrete = function.get_concrete_function(*specs)
    except ModelError as err:
        if not assigned:
            raise
        raise _assigned(where, assigned[0]) from err
    draws = unseeded_draws(concrete.graph)
    if draws:
        raise ModelError(
            f"{where}: expected random draws by Keras layers, such as Dropout, or by tf.random's "
            f"stateless functions, found {shorten(draws, 3)}, which no seed repeats. Use a layer "
            "of Keras, or client.augment for changes of the examples."
        )
    if concrete.graph.variables:
        names = [variable.name.partition(":")[0] for variable in concrete.graph.variables]
        raise ModelError(
            f"{where}: expected all that the model reads to be among its weights, found "
            f"{shorten(names, 3)}, which would not be trained. Make it an attribute of a layer, of "
            "float32."
        )
    _refuse_activation(request, concrete)
    return concrete


def _constants(request: ModelRequest, concrete: Any) -> list[Any]:
    """Return the values of the tensors that the code made before, such as a table of positions."""
    import tensorflow as tf

    captured = concrete.captured_inputs
    if any(tensor.dtype in (tf.resource, tf.variant) for tensor in captured):
        raise ModelError(
            f"{request.where}: expected a model of tensors and variables, found a table or another "
            "resource, such as a lookup. Do that in data.preprocess."
        )
    return [tensor.numpy() for tensor in captured]


def _assigned(where: str, name: str) -> ModelError:
    return ModelError(
        f"{where}: expected layers whose variables change by gradients alone, '{name}' is assigned "
        "to in a call. Use layers without such a state, for example GroupNormalization in place of "
        "BatchNormalization."
    )


def _refuse_added_losses(where: str, code: VariableCode) -> None:
    losses = code.added_losses()
    if losses:
        raise ModelError(
            f"{where}: expected a model without losses of its own, found {len(losses)} "
            "(a regularizer or add_loss): clients minimize task.loss alone. Remove them, or write "
            "task.loss yourself."
        )


def _checked_outputs(request: ModelRequest, outputs: Any) -> Any:
    import tensorflow as tf

    where = request.where
    if not isinstance(outputs, tf.Tensor):
        raise ModelError(
            f"{where}: expected one tensor as output, found {type(outputs).__name__}. Return the "
            "logits alone."
        )
    count = request.num_classes
    shape = outputs.shape.as_list() if outputs.shape.rank is not None else None
    by_token = request.kind == "tokens"
    expected = [None, request.feature_shape[0], count] if by_token else [None, count]
    if shape is None or len(shape) != len(expected) or shape[1:] != expected[1:]:
        text = "[" + ", ".join(["n", *(str(size) for size in expected[1:])]) + "]"
        actual = "unknown" if shape is None else f"[{', '.join(_size(size) for size in shape)}]"
        raise ModelError(
            f"{where}: expected outputs of shape {text} for n examples, found {actual}. Size the "
            "last layer by the second argument of the function, num_classes."
        )
    if outputs.dtype != tf.float32:
        raise ModelError(
            f"{where}: expected outputs of float32, found {outputs.dtype.name}. fedpipe computes "
            "in float32; do not set mixed precision."
        )
    return outputs


def _size(size: int | None) -> str:
    return "n" if size is None else str(size)


def _refuse_activation(request: ModelRequest, concrete: Any) -> None:
    """Refuse outputs that a softmax or a sigmoid has made: losses and metrics take logits."""
    if request.kind == "regression":
        return
    operation = concrete.graph.outputs[0].op
    while operation.type in _PASSES_THROUGH and operation.inputs:
        operation = operation.inputs[0].op
    activation = _ACTIVATIONS.get(operation.type)
    if activation is not None:
        raise ModelError(
            f"{request.where}: expected logits as outputs, found that the last operation is a "
            f"{activation}. Remove the last activation: the loss and the metrics take logits, and "
            "predictions are probabilities all the same."
        )


def _definition(concrete: Any) -> bytes:
    definition: bytes = concrete.graph.as_graph_def().SerializeToString(deterministic=True)
    return definition
