"""Every architecture, exported in every form, predicts the same."""

import pytest
import tensorflow as tf

from fedpipe.models import exports
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
