import os
import subprocess
import sys

import numpy as np
import pytest

from fedpipe.errors import ModelError
from fedpipe.models.lstm import lstm
from fedpipe.models.softmax import softmax
from fedpipe.tracking.model import log_model
from fedpipe.types import weights_sha256

# Two features, three classes. For x = (0, 1): logits = (ln 1, ln 2, ln 3) - 1, so the probabilities are 1/6, 2/6, 3/6.
WEIGHTS = {
    "kernel": np.array([[1, 0, 0], [0, np.log(2), np.log(3)]], np.float32),
    "bias": np.array([-1, -1, -1], np.float32),
}

LOAD = """
import sys
sys.modules["fedpipe"] = None  # Makes `import fedpipe` fail.
import mlflow, numpy as np
mlflow.set_tracking_uri(sys.argv[1])
for uri in sys.argv[2:]:
    model = mlflow.pyfunc.load_model(uri)
    found = model.predict(np.array([[0, 1]], np.float32))
    assert found.dtype == np.float32 and found.shape == (1, 3), (found.dtype, found.shape)
    np.testing.assert_allclose(found, [[1 / 6, 2 / 6, 3 / 6]], rtol=1e-6)
    example = model.input_example
    assert example.dtype == np.float32 and example.tolist() == [[0.0, 1.0], [1.0, 0.0]], example
    assert model.predict(np.zeros((5, 2), np.float32)).shape == (5, 3)
    signature = model.metadata.signature
    assert signature.inputs.inputs[0].shape == (-1, 2) and signature.outputs.inputs[0].shape == (-1, 3), signature
    try:
        model.predict(np.zeros((1, 3), np.float32))
    except mlflow.exceptions.MlflowException:
        pass
    else:
        raise AssertionError("three features were taken")
"""


def test_the_model_loads_and_predicts_without_fedpipe_and_without_pickle(start):
    run = start()
    example = np.array([[0, 255], [255, 0]], np.uint8)
    model_id = log_model(run, softmax((2,), 3), WEIGHTS, example, round_num=15)
    run.finish()

    logged = run.store.client.get_logged_model(model_id)
    assert logged.status == "READY"
    assert logged.source_run_id == run.run_id
    assert logged.tags["weights_sha256"] == weights_sha256(WEIGHTS)
    outputs = run.store.client.get_run(run.run_id).outputs.model_outputs
    assert [(output.model_id, output.step) for output in outputs] == [(model_id, 15)]

    environment = {**os.environ, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    environment.pop("WRAPT_DISABLE_EXTENSIONS", None)
    command = [
        sys.executable,
        "-c",
        LOAD,
        run.store.uri,
        f"models:/{model_id}",
        f"runs:/{run.run_id}/model",
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_weights_that_do_not_fit_are_refused_before_anything_is_written(start):
    run = start()
    with pytest.raises(ModelError, match=r"expected tensors kernel, bias, found kernel"):
        log_model(
            run,
            softmax((2,), 3),
            {"kernel": WEIGHTS["kernel"]},
            np.zeros((1, 2), np.float32),
            round_num=1,
        )
    assert run.store.client.get_run(run.run_id).outputs.model_outputs == []


def test_a_model_of_tokens_takes_sequences_of_any_length(start, monkeypatch):
    import mlflow

    run, model = start(), lstm((9,), 4, tokens=7)
    weights = model.initial_weights(1)
    model_id = log_model(run, model, weights, np.ones((2, 9), np.int32), round_num=1)
    run.finish()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", run.store.uri)
    mlflow.set_tracking_uri(run.store.uri)
    x = np.array([[3, 5, 0]], np.int32)
    found = mlflow.pyfunc.load_model(f"models:/{model_id}").predict(x)
    logits = np.asarray(model.logits(list(weights.values()), x))
    np.testing.assert_allclose(found, np.exp(logits) / np.exp(logits).sum(), rtol=1e-5)


KINDS = {
    # of the logits ln 2 and ln 3
    "binary": ("probability", [2 / 3, 3 / 4]),
    "multilabel": ("probabilities", [2 / 3, 3 / 4]),
    "regression": ("predictions", [np.log(2), np.log(3)]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_outputs_of_a_model_follow_the_kind_of_its_task(start, kind, tmp_path):
    import mlflow

    from fedpipe.models.exports import (
        examples_for,
        largest_difference,
        read_savedmodel,
        write_savedmodel,
    )
    from fedpipe.models.saved import SavedClassifier
    from fedpipe.tasks.saved_outputs import outputs_of

    name, expected = KINDS[kind]
    run = start()
    weights = {"kernel": np.zeros((2, 2), np.float32), "bias": np.log([2, 3]).astype(np.float32)}
    example = np.ones((2, 2), np.float32)
    model_id = log_model(run, softmax((2,), 2), weights, example, round_num=1, kind=kind)
    run.finish()
    mlflow.set_tracking_uri(run.store.uri)
    model = mlflow.pyfunc.load_model(f"models:/{model_id}")
    np.testing.assert_allclose(model.predict(example), [expected, expected], rtol=1e-6)
    (output,) = model.metadata.signature.outputs.inputs
    assert (output.name, output.shape) == (name, (-1, 2))
    folder = mlflow.artifacts.download_artifacts(f"models:/{model_id}", dst_path=str(tmp_path))
    saved = SavedClassifier.load(next(iter((tmp_path / folder).glob("**/saved_model.pb"))).parent)
    logits = np.log([[2, 3]]).astype(np.float32)
    predicted = saved.predict(example[:1])
    np.testing.assert_allclose(outputs_of(kind, predicted), logits, rtol=1e-5)
    write_savedmodel(saved, tmp_path / "served", kind)
    x = examples_for(saved, None)
    assert largest_difference(saved, read_savedmodel(tmp_path / "served"), x) == 0
