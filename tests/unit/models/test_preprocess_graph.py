"""A saved model takes raw numbers, and predicts what it predicts of examples after the steps."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from fedpipe.data.preprocess.fitted import Categories, Chosen, Clipped, Filled, Scaled
from fedpipe.data.preprocess.image_steps import Cropped, Normalized
from fedpipe.data.preprocess.steps import FittedSteps
from fedpipe.models.exports import largest_difference, read_savedmodel, write_savedmodel
from fedpipe.models.preprocess_graph import preprocess_graph
from fedpipe.models.saved import SavedClassifier
from fedpipe.models.softmax import softmax
from fedpipe.tracking.model import classifier

TABLE = FittedSteps(
    dtype="float32",
    shape=(3,),
    columns=("age", "dose", "ward"),
    steps=(
        Filled(
            name="missing",
            by="indicator",
            columns=("age", "ward"),
            values=(61.3, 2.0),
            flagged=("ward",),
        ),
        Scaled(name="standardize", columns=("age", "dose"), shift=(60.1, 1e4), scale=(14.9, 7e3)),
        Clipped(name="clip", columns=("dose",), low=-1.5, high=0.7),
        Chosen(name="drop", columns=("dose", "age", "ward_missing")),
        Scaled(name="min_max", columns=("age",), shift=(-3.3,), scale=(7.1,)),
    ),
)
PIXELS = FittedSteps(
    dtype="uint8",
    shape=(4, 3),
    steps=(
        Scaled(
            name="robust",
            shift=tuple(np.linspace(0.1, 0.6, 12).tolist()),
            scale=tuple(np.linspace(0.2, 3, 12).tolist()),
        ),
        Clipped(name="clip", low=-0.5, high=0.5),
    ),
)

COLOURS = FittedSteps(
    dtype="float32",
    shape=(7, 6, 3),
    steps=(
        Cropped(name="crop", size=(4, 3)),
        Normalized(name="normalize", mean=(0.1, 0.3, 0.2), std=(0.3, 0.25, 0.1)),
    ),
)


def raw(steps: FittedSteps, rows: int = 200):
    draw = np.random.default_rng(1)
    if steps is not TABLE:
        return draw.random((rows, *steps.shape), np.float32)
    x = np.stack(
        [draw.normal(60, 15, rows), draw.exponential(1e4, rows), draw.normal(size=rows)], 1
    )
    x[::7, 0] = np.nan
    x[::3, 2] = np.nan
    return x.astype(np.float32)


@pytest.mark.parametrize("steps", [TABLE, PIXELS, COLOURS])
def test_the_graph_gives_the_bits_of_the_steps(steps):
    graph = preprocess_graph(steps)
    x = raw(steps)
    expected = steps.apply(x)
    assert np.isfinite(expected).all()
    assert graph.apply(tf.constant(x)).numpy().tobytes() == expected.tobytes()


@pytest.mark.parametrize("steps", [TABLE, PIXELS, COLOURS])
def test_saved_and_exported_models_take_raw_numbers(steps, tmp_path: Path):
    x = raw(steps)
    prepared = steps.apply(x)
    spec = softmax(prepared.shape[1:], 3)
    draw = np.random.default_rng(2)
    weights = {
        name: draw.normal(size=tensor.shape).astype(np.float32)
        for name, tensor in spec.initial_weights(1).items()
    }
    tf.saved_model.save(classifier(spec, weights, steps=steps), str(tmp_path / "model"))
    model = SavedClassifier.load(tmp_path / "model")
    assert (model.shape, model.raw_shape) == (prepared.shape[1:], steps.shape)
    plain = classifier(spec, weights)
    expected = plain(tf.constant(prepared)).numpy()
    np.testing.assert_array_equal(model.predict(prepared), expected)
    served = tf.saved_model.load(str(tmp_path / "model"))(tf.constant(x)).numpy()
    np.testing.assert_allclose(served, expected, atol=1e-6)
    write_savedmodel(model, tmp_path / "exported")
    exported = read_savedmodel(tmp_path / "exported")
    assert largest_difference(model, exported, x, prepared) < 1e-6
    np.testing.assert_allclose(exported(x), expected, atol=1e-6)


def test_steps_on_texts_have_no_graph():
    one_hot = Categories(name="one_hot", categories={"city": ("Bern",)})
    texts = FittedSteps(
        dtype="float32", shape=(1,), columns=("city",), texts=("city",), steps=(one_hot,)
    )
    per_client = FittedSteps(
        dtype="float32", shape=(1,), steps=(Scaled(name="robust", per="client"),)
    )
    assert preprocess_graph(texts) is None
    assert preprocess_graph(per_client) is None
    assert preprocess_graph(None) is None
