"""A trained model read back from its SavedModel: predictions for examples, without a pickle and
without the code that made it.

A SavedModel is a graph of TensorFlow's own operations and its weights. Beside it lies what the
graph does not say: `input_facts.InputFacts`.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedpipe.errors import ModelError

_BATCH = 1000


class SavedClassifier:
    """A loaded SavedModel of one function, from features to probabilities, or to the numbers of a
    regression.

    Attributes:
        where: names the model in errors.
        shape: of one example's features after the steps of preprocessing; None where any size is
            allowed.
        dtype: of the features, float32 or int32.
        num_classes: size of the last axis of the outputs.
        function: TensorFlow's function of features.
        raw_shape: where `module` itself takes the features before the steps, their shape, else
            None.
    """

    def __init__(self, module: Any, where: str) -> None:
        """Use `load`. Raises ModelError if the module is no such function."""
        takes_raw = "prepared" in vars(module)
        functions = _functions(module, "prepared" if takes_raw else "__call__")
        inputs: tuple[Any, ...] = (
            functions[0].structured_input_signature[0] if len(functions) == 1 else ()
        )
        if len(inputs) != 1 or inputs[0].dtype.name not in ("float32", "int32"):
            raise ModelError(
                f"{where}: expected a SavedModel of one function of features, found another. Name "
                "a model that fedpipe made."
            )
        self._module = module
        self._prepared = module.prepared if takes_raw else module
        self.where = where
        self.shape: tuple[int | None, ...] = tuple(inputs[0].shape.as_list()[1:])
        self.dtype = np.dtype(inputs[0].dtype.name)
        self.num_classes = int(functions[0].structured_outputs.shape[-1])
        self.function = functions[0]
        self.raw_shape: tuple[int, ...] | None = None
        if takes_raw:
            (served,) = _functions(module, "__call__")
            self.raw_shape = tuple(served.structured_input_signature[0][0].shape.as_list()[1:])

    @classmethod
    def load(cls, folder: Path, where: str = "") -> "SavedClassifier":
        """Return the model in a folder; `where` names it in errors.

        Raises:
            ModelError: the folder holds no SavedModel, or another kind of one.
        """
        import tensorflow as tf

        try:
            module = tf.saved_model.load(str(folder))
        except (OSError, ValueError, KeyError, tf.errors.OpError) as err:
            reason = " ".join(str(err).split())[:200]
            raise ModelError(
                f"{where or folder}: expected a SavedModel, cannot load it: {reason}. Restore "
                "it or train again."
            ) from err
        return cls(module, where or str(folder))

    @property
    def module(self) -> Any:
        """Return TensorFlow's own object."""
        return self._module

    def __call__(self, features: Any) -> Any:
        """Return the predictions for a batch, as a tensor; may stand in a graph."""
        return self._prepared(features)

    def fits(self, feature_shape: tuple[int, ...], num_classes: int, dtype: str) -> bool:
        """Return whether the model takes such features and has so many outputs; `dtype` as in the
        shards.
        """
        same = len(self.shape) == len(feature_shape) and all(
            size in (None, given) for size, given in zip(self.shape, feature_shape, strict=True)
        )
        return (
            same
            and num_classes == self.num_classes
            and (self.dtype == np.int32) == (dtype == "int32")
        )

    def predict(self, x: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return predictions, float32 [n, outputs], or [n, length, outputs] of a model that
        predicts after each token: probabilities, or the numbers of a regression.

        Args:
            x: float32 or int32 [n, *shape], ready for the model.

        Raises:
            ModelError: the features are others than the model takes.
        """
        if x.dtype != self.dtype or not self.fits(x.shape[1:], self.num_classes, str(x.dtype)):
            raise ModelError(
                f"{self.where}: expected {self.dtype} features of shape {_text(self.shape)}, "
                f"found {x.dtype} of shape {_text(x.shape[1:])}."
            )
        parts = [np.asarray(self(x[start : start + _BATCH])) for start in range(0, len(x), _BATCH)]
        if parts:
            return np.concatenate(parts)
        return np.zeros((0, self.num_classes), np.float32)


def _text(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("any" if size is None else str(size) for size in shape) + "]"


def _functions(module: Any, name: str) -> list[Any]:
    """Return TensorFlow's functions of one name in a loaded module."""
    return getattr(vars(module).get(name), "concrete_functions", None) or []
