"""Every architecture, exported in every form, predicts the same."""

import re

import pytest
import tensorflow as tf

from fedpipe.config import Config
from fedpipe.errors import ModelError
from fedpipe.models import build_model, exports
from fedpipe.models.catalog import MODELS
from fedpipe.models.lstm import lstm
from fedpipe.models.saved import SavedClassifier
from fedpipe.tracking.model import classifier

pytestmark = pytest.mark.slow

SPECS = {
    name: build((32, 32, 3) if name == "resnet18_gn" else (28, 28), 10)
    for name, build in MODELS.items()
}
SPECS |= {f"lstm {positions}": lstm((20,), 90, 90, positions) for positions in ("last", "all")}


@pytest.mark.parametrize("name", SPECS)
def test_an_architecture_survives_both_forms(name, tmp_path):
    spec = SPECS[name]
    tf.saved_model.save(classifier(spec, spec.initial_weights(1)), str(tmp_path / "model"))
    model = SavedClassifier.load(tmp_path / "model", name)
    x = exports.examples_for(model, spec.tokens, 16)
    exports.write_savedmodel(model, tmp_path / "served")
    assert exports.largest_difference(model, exports.read_savedmodel(tmp_path / "served"), x) == 0
    exports.write_tflite(model, tmp_path / "tflite")
    assert (
        exports.largest_difference(model, exports.read_tflite(tmp_path / "tflite"), x)
        <= exports.TOLERANCE
    )


def test_what_tensorflow_lite_cannot_run_is_one_error(tmp_path):
    (tmp_path / "grouped.py").write_text(
        "import tensorflow as tf\n"
        "L = tf.keras.layers\n"
        "def build(shape, classes):\n"
        "    return tf.keras.Sequential([L.Reshape((*shape, 1)), L.Conv2D(4, 3),\n"
        "        L.GroupNormalization(2), L.Flatten(), L.Dense(classes)])\n"
    )
    config = Config.model_validate({"model": {"name": "grouped:build"}})
    spec = build_model(config, (8, 8), 3, tmp_path)
    tf.saved_model.save(classifier(spec, spec.initial_weights(1)), str(tmp_path / "model"))
    model = SavedClassifier.load(tmp_path / "model", "grouped")
    x = exports.examples_for(model, None, 4)
    exports.write_savedmodel(model, tmp_path / "served")
    assert exports.largest_difference(model, exports.read_savedmodel(tmp_path / "served"), x) == 0
    exports.write_tflite(model, tmp_path / "tflite")
    with pytest.raises(ModelError, match=re.escape("Export it with --format savedmodel.")):
        exports.largest_difference(model, exports.read_tflite(tmp_path / "tflite"), x)
