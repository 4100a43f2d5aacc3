"""Weights to start from: files of fedpipe, of Keras and of others, and weights of other models."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import save_file

from fedpipe.config import Config
from fedpipe.errors import ModelError
from fedpipe.models import ModelSpec, build_model
from fedpipe.models.read_weights import fitted, read_tensors
from fedpipe.models.weights_io import save_weights
from fedpipe.tracking.model import classifier

WHERE = "model.initial=x"


@pytest.fixture(scope="module")
def model() -> ModelSpec:
    return build_model(Config(), (2, 3), 4)


def drawn(model: ModelSpec) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(3)
    return {
        name: draw.random(value.shape, np.float32)
        for name, value in model.initial_weights(0).items()
    }


@pytest.mark.parametrize("form", ["fedpipe", "other", "keras", "saved_model", "keras_saved_model"])
def test_each_form_gives_the_weights(model: ModelSpec, tmp_path: Path, form: str) -> None:
    weights = drawn(model)
    path = tmp_path / "file.safetensors"
    if form == "fedpipe":
        save_weights(path, weights)
    elif form == "other":
        save_file(weights, path)
    elif form == "saved_model":
        path = tmp_path / "folder"
        tf.saved_model.save(classifier(model, weights), str(path))
    else:
        layers = tf.keras.layers
        keras = tf.keras.Sequential([layers.Input((2, 3)), layers.Flatten(), layers.Dense(4)])
        keras.set_weights(list(weights.values()))
        path = tmp_path / "file.keras"
        if form == "keras_saved_model":
            path = tmp_path / "folder"
            tf.saved_model.save(keras, str(path))
        else:
            keras.save(path)
    read = fitted(model, read_tensors(path, WHERE), WHERE)
    assert tuple(read) == model.tensor_names
    for name, value in weights.items():
        np.testing.assert_array_equal(read[name], value)


def test_weights_of_another_model_are_refused(model: ModelSpec) -> None:
    weights = drawn(model)
    with pytest.raises(ModelError, match=r"found bias missing\. Choose"):
        fitted(model, {"kernel": weights["kernel"]}, WHERE)
    with pytest.raises(ModelError, match="found more beside them"):
        fitted(model, {**weights, "more": weights["bias"]}, WHERE)
    with pytest.raises(ModelError, match=r"'kernel' of shape \[6, 4\], .* found \[4, 6\]"):
        fitted(model, {**weights, "kernel": weights["kernel"].T}, WHERE)
    with pytest.raises(ModelError, match=r"expected the tensors .*kernel \[6, 4\].*found w \[2\]"):
        fitted(model, {"w": np.zeros(2, np.float32)}, WHERE)
    with pytest.raises(ModelError, match="'bias' has NaN"):
        fitted(model, {**weights, "bias": weights["bias"] * np.nan}, WHERE)


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_text("no")
    (tmp_path / "a.keras").write_text("no")
    with pytest.raises(ModelError, match="cannot read"):
        read_tensors(tmp_path / "a.safetensors", WHERE)
    with pytest.raises(ModelError, match="cannot load"):
        read_tensors(tmp_path / "a.keras", WHERE)
    with pytest.raises(ModelError, match=r"expected a file .*b\.keras, found none"):
        read_tensors(tmp_path / "b.keras", WHERE)


def test_a_file_without_an_order_is_read_by_shapes_or_refused(
    model: ModelSpec, tmp_path: Path
) -> None:
    weights = drawn(model)
    path = tmp_path / "file.safetensors"
    save_file({"a": weights["bias"], "b": weights["kernel"]}, path)
    read = fitted(model, read_tensors(path, WHERE), WHERE)
    for name, value in weights.items():
        np.testing.assert_array_equal(read[name], value)
    square = build_model(Config.model_validate({"model": {"name": "mlp"}}), (200,), 200)
    values = list(drawn(square).values())
    save_file({f"t{number}": value for number, value in enumerate(values)}, path)
    with pytest.raises(ModelError, match="shapes do not tell which is which"):
        fitted(square, read_tensors(path, WHERE), WHERE)


def test_a_scalar_stays_one(model: ModelSpec) -> None:
    scalar = replace(
        model,
        tensor_names=("scale",),
        initial_weights=lambda _seed: {"scale": np.zeros((), np.float32)},
    )
    assert fitted(scalar, {"scale": np.ones((), np.float64)}, WHERE)["scale"].shape == ()
