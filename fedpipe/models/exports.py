"""A model in the forms that other programs run: a SavedModel with a serving signature, and
TensorFlow Lite.

Both hold the same function: `features`, a batch, to `probabilities`, or by the kind of the task to
`probability` of the positive class or `predictions` of each target. What was written is read back and
compared before it counts.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedpipe.config.task import TaskKind
from fedpipe.errors import ModelError
from fedpipe.models.saved import SavedClassifier
from fedpipe.seeding import generator
from fedpipe.tasks.saved_outputs import PREDICTION_NAMES

TOLERANCE = 1e-5
"""Largest difference of a probability that the same prediction may have; of a number of a regression
relative to the largest one, where that is more than 1.
"""

Array = npt.NDArray[Any]


def write_savedmodel(model: SavedClassifier, out: Path, kind: TaskKind = "classification") -> None:
    """Write the model to the folder `out`, with the signature `serving_default` that TensorFlow
    Serving asks for.
    """
    import tensorflow as tf

    tf.saved_model.save(*_exportable(model, str(out), kind))


def read_savedmodel(path: Path) -> Callable[[Array], Array]:
    """Return the function of a SavedModel that `write_savedmodel` wrote."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    serve = loaded.signatures["serving_default"]

    def run(x: Array) -> Array:
        _ = loaded  # its variables live as long as it does
        (predictions,) = serve(features=tf.convert_to_tensor(x)).values()
        return np.asarray(predictions)

    return run


def write_tflite(model: SavedClassifier, out: Path, kind: TaskKind = "classification") -> None:
    """Write the model to the file `out`, float32 throughout: nothing is quantized.

    Raises:
        ModelError: TensorFlow Lite has no form of it.
    """
    import tensorflow as tf

    module, _, signatures = _exportable(model, "", kind)
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [signatures["serving_default"]], module
    )
    # Loops over sequences need operations that TensorFlow Lite itself does not have; its Flex
    # delegate brings them.
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.TFLITE_BUILTINS,
        tf.lite.OpsSet.SELECT_TF_OPS,
    ]
    try:
        content = converter.convert()
    except Exception as err:  # the converter's own errors, and any of rewriting the graph
        message = " ".join(str(err).split())[:300]
        raise ModelError(
            f"{model.where}: expected a model that TensorFlow Lite can hold, its converter says: "
            f"{message}."
        ) from err
    out.write_bytes(content)


def read_tflite(path: Path) -> Callable[[Array], Array]:
    """Return the function of a file that `write_tflite` wrote. It raises ModelError where TensorFlow
    Lite cannot run an operation that its converter took, such as Keras' GroupNormalization.
    """
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(model_path=str(path))

    def run(x: Array) -> Array:
        index = interpreter.get_input_details()[0]["index"]
        try:
            interpreter.resize_tensor_input(index, x.shape)
            interpreter.allocate_tensors()
            interpreter.set_tensor(index, x)
            interpreter.invoke()
        except RuntimeError as err:
            message = " ".join(str(err).split())[:300]
            raise ModelError(
                f"--format tflite: expected a model that TensorFlow Lite can run, its interpreter "
                f"says: {message} Export it with --format savedmodel."
            ) from err
        return np.array(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))

    return run


def examples_for(model: SavedClassifier, tokens: int | None, count: int = 64) -> Array:
    """Return `count` drawn examples such as the model takes: numbers from 0 to 1, or tokens in
    sequences of 20, some of them padded.

    `tokens`: the model's tokens are below; as many as classes if not given.
    """
    draw = generator(0, "export")
    shape = tuple(size or 20 for size in model.raw_shape or model.shape)
    if model.dtype != np.int32:
        return draw.random((count, *shape), np.float32)
    x = draw.integers(1, tokens or model.num_classes, (count, *shape), np.int32)
    for row, length in enumerate(draw.integers(1, shape[0] + 1, count)):
        x[row, length:] = 0
    return x


def largest_difference(
    model: SavedClassifier,
    exported: Callable[[Array], Array],
    x: Array,
    prepared: Array | None = None,
) -> float:
    """Return by how much a prediction of the exported model differs from the model's own, at most,
    over the examples `x`; of numbers above 1 relative to the largest. `prepared`: they after the
    steps of preprocessing, where the exported model takes them before the steps.

    Raises:
        ModelError: by more than `TOLERANCE`, or one of them is no number, or the shapes differ.
    """
    expected = model.predict(x if prepared is None else prepared)
    actual = exported(x)
    if actual.shape != expected.shape:
        raise ModelError(
            f"{model.where}: expected exported predictions of shape {list(expected.shape)}, found "
            f"{list(actual.shape)}."
        )
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    worst = float(np.abs(actual.astype(np.float64) - expected).max(initial=0.0)) / scale
    if not worst <= TOLERANCE:  # also of a NaN
        raise ModelError(
            f"{model.where}: expected the exported model to predict the same within "
            f"{TOLERANCE:g}, found a difference of {worst:.3g} over {len(x)} examples. Nothing "
            "was written."
        )
    return worst


def _exportable(
    model: SavedClassifier, where: str, kind: TaskKind
) -> tuple[Any, str, dict[str, Any]]:
    """Return the arguments of `tf.saved_model.save`: a module that names its input and its
    output.
    """
    import tensorflow as tf

    served = model.raw_shape or model.shape

    class Exported(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model.module

        @tf.function(input_signature=[tf.TensorSpec((None, *served), model.dtype, name="features")])  # type: ignore[untyped-decorator]
        def serve(self, features: Any) -> Any:
            return {PREDICTION_NAMES[kind]: self.model(features)}

    module = Exported()
    return module, where, {"serving_default": module.serve.get_concrete_function()}
