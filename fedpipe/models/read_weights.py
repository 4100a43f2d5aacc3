"""Weights to start from (`model.initial`), read from files that others than fedpipe write, too."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedpipe.errors import ModelError, shorten
from fedpipe.models.spec import ModelSpec
from fedpipe.types import Weights

Tensors = dict[str, npt.NDArray[Any]]


def read_tensors(path: Path, where: str) -> Tensors:
    """Return the tensors of a file by name, in the order that the file has.

    Args:
        path: a `.safetensors` file, fedpipe's or another's; a `.keras` file; or the folder of a
            SavedModel.
        where: the setting with its value, for errors.

    Raises:
        ModelError: it cannot be read.
    """
    if path.is_dir():
        return _of_saved_model(path, where)
    if not path.is_file():
        raise ModelError(f"{where}: expected a file {path}, found none. Correct the path.")
    if path.suffix == ".keras":
        return _of_keras(path, where)
    return _of_safetensors(path, where)


class UnorderedTensors(dict[str, npt.NDArray[Any]]):
    """Tensors of a file that has them in the order of their names, whatever that of the layers
    is."""


def fitted(model: ModelSpec, tensors: Mapping[str, npt.NDArray[Any]], where: str) -> Weights:
    """Return tensors as the weights of a model: by their names or, where all names are others, as
    Keras numbers its layers anew, by their order, if all shapes are the model's; where the file
    has no order, by their shapes, if these tell them apart.

    Raises:
        ModelError: a tensor is missing, is one too many, or has another shape.
    """
    expected = {name: value.shape for name, value in model.initial_weights(0).items()}
    if not set(tensors) & set(expected):
        if isinstance(tensors, UnorderedTensors):
            tensors = _ordered(model, tensors, expected, where)
        if [value.shape for value in tensors.values()] != list(expected.values()):
            raise ModelError(
                f"{where}: expected the tensors of model.name={model.name}, "
                f"{_listed(expected)}, found {_listed(_shapes(tensors))}. Choose weights of this "
                "model."
            )
        tensors = dict(zip(expected, tensors.values(), strict=True))
    missing = [name for name in expected if name not in tensors]
    extra = [name for name in tensors if name not in expected]
    if missing or extra:
        parts = [f"{shorten(missing, 5)} missing"] if missing else []
        parts += [f"{shorten(extra, 5)} beside them"] if extra else []
        raise ModelError(
            f"{where}: expected the tensors of model.name={model.name}, found "
            f"{' and '.join(parts)}. Choose weights of this model."
        )
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            raise ModelError(
                f"{where}: expected '{name}' of shape {list(shape)}, as model.name={model.name} "
                f"has it, found {list(tensors[name].shape)}. Choose weights of this model."
            )
    weights = {name: np.asarray(tensors[name], np.float32, order="C") for name in expected}
    for name, value in weights.items():
        if not np.isfinite(value).all():
            raise ModelError(f"{where}: expected finite weights, '{name}' has NaN or infinity.")
    return weights


def _ordered(
    model: ModelSpec,
    tensors: UnorderedTensors,
    expected: Mapping[str, tuple[int, ...]],
    where: str,
) -> Tensors:
    """Return the tensors in the order of the model's shapes. Raises ModelError if two of these are
    the same.
    """
    shapes = list(expected.values())
    same = sorted(shapes) == sorted(value.shape for value in tensors.values())
    if same and len(set(shapes)) < len(shapes):
        raise ModelError(
            f"{where}: expected the names of model.name={model.name}, {_listed(expected)}, found "
            f"{_listed(_shapes(tensors))}: shapes do not tell which is which. Rename the tensors."
        )
    if not same:
        return tensors
    return dict(sorted(tensors.items(), key=lambda item: shapes.index(item[1].shape)))


def _shapes(tensors: Mapping[str, npt.NDArray[Any]]) -> dict[str, tuple[int, ...]]:
    return {name: value.shape for name, value in tensors.items()}


def _listed(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return shorten([f"{name} {list(shape)}" for name, shape in shapes.items()], 4)


def _of_safetensors(path: Path, where: str) -> Tensors:
    from safetensors import SafetensorError, safe_open

    from fedpipe.models.weights_io import load_weights

    try:
        with safe_open(path, framework="np") as file:
            if "fedpipe" in (file.metadata() or {}):
                return dict(load_weights(path))
            names = list(file.keys())
            return UnorderedTensors((name, file.get_tensor(name)) for name in names)
    except (SafetensorError, OSError, ValueError, TypeError) as err:
        raise ModelError(
            f"{where}: expected a safetensors file, cannot read {path}: {err}. Name another file."
        ) from err


def _of_keras(path: Path, where: str) -> Tensors:
    import tensorflow as tf

    from fedpipe.models.variable_model import tensor_names

    try:
        model = tf.keras.models.load_model(path, compile=False)
    except Exception as err:  # Keras', and those of the file's layers
        reason = " ".join(str(err).split())[:200]
        raise ModelError(
            f"{where}: expected a model that Keras can load, cannot load {path}: {reason}. Of a "
            "model with layers of your own, save the weights as safetensors."
        ) from err
    variables = [variable for variable in model.weights if variable.dtype.name == "float32"]
    names = tensor_names(variables)
    return {
        name: np.asarray(variable.numpy()) for name, variable in zip(names, variables, strict=True)
    }


def _of_saved_model(path: Path, where: str) -> Tensors:
    import tensorflow as tf

    from fedpipe.models.variable_model import tensor_names

    try:
        loaded = tf.saved_model.load(str(path))
    except (OSError, ValueError, KeyError, tf.errors.OpError) as err:
        reason = " ".join(str(err).split())[:200]
        raise ModelError(
            f"{where}: expected a SavedModel, cannot load {path}: {reason}. Name another folder."
        ) from err
    variables = list(getattr(loaded, "variables", None) or [])
    if not variables:
        for holder in (getattr(loaded, "model", None), loaded):
            variables = variables or list(getattr(holder, "tensors", None) or [])
    for signature in loaded.signatures.values():
        variables = variables or list(signature.variables)
    variables = [variable for variable in variables if variable.dtype.name == "float32"]
    names = tensor_names(variables)
    return {
        name: np.asarray(variable.numpy()) for name, variable in zip(names, variables, strict=True)
    }
