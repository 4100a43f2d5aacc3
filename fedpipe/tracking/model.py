"""Logs the trained model to MLflow: a TensorFlow SavedModel that loads without fedpipe and without
a pickle.

`mlflow.pyfunc.load_model(f"models:/{model_id}").predict(x)` takes float32 [n, *feature_shape],
pixels already in 0..1, or int32 tokens [n, length], padded with 0, and gives float32 [n, outputs]:
class probabilities, the probability of the positive class, a probability for each label, or a number
for each target; or [n, length, tokens] where each token is followed by a prediction.
It also loads with `MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false`.
"""

import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fedpipe.config.task import TaskKind
from fedpipe.errors import ModelError
from fedpipe.models import ModelSpec
from fedpipe.models.evaluate import to_input
from fedpipe.tasks.saved_outputs import PREDICTION_NAMES, predicted
from fedpipe.tracking.run import TrackedRun
from fedpipe.tracking.store import Store
from fedpipe.tracking.tags import MODEL_ARCHITECTURE, MODEL_ROUND, MODEL_WEIGHTS_SHA256
from fedpipe.types import Weights, weights_sha256

ABOUT = "fedpipe"
"""Key of the model's metadata that holds the facts of its input beyond its signature."""
_MLFLOW_TYPES: dict[TaskKind, str] = {"regression": "regressor"}
"""MLflow's name for models of a kind, by which its evaluation chooses; else `classifier`."""


def log_model(
    run: TrackedRun,
    model: ModelSpec,
    weights: Weights,
    example: npt.NDArray[np.generic],
    *,
    round_num: int,
    name: str = "model",
    kind: TaskKind = "classification",
    about: Mapping[str, Any] | None = None,
) -> str:
    """Write `model` with `weights` to the store as an output of `run`, in about 1 s.

    Args:
        run: the run that trained it.
        model: the architecture.
        weights: of all tensors of the model.
        example: uint8, float32 or int32 [n, *feature_shape], n at least 1: the model's input
            example.
        round_num: the round of the weights.
        name: the model's name in `runs:/<run_id>/<name>`.
        kind: of the task: what the model's outputs are.
        about: facts of the model's input (`models.input_facts.InputFacts`), JSON-able.

    Returns:
        The id of the MLflow model.

    Raises:
        ModelError: the weights are of another architecture.
        TrackingError: the store does not accept it. The model is then marked as failed there.
    """
    if tuple(weights) != model.tensor_names:
        raise ModelError(
            f"model '{model.name}': expected tensors {', '.join(model.tensor_names)}, found "
            f"{', '.join(weights)}. Give the weights of the same model."
        )
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    store = run.store
    client = run.store.client
    store.require_artifacts()
    doing = f"write the model '{name}' of run {run.run_id}"
    tags = {
        MODEL_WEIGHTS_SHA256: weights_sha256(weights),
        MODEL_ARCHITECTURE: model.name,
        MODEL_ROUND: str(round_num),
    }
    with store.guard(doing):
        logged = client.create_logged_model(
            store.experiment_id,
            name,
            run.run_id,
            tags=tags,
            model_type=_MLFLOW_TYPES.get(kind, "classifier"),
        )
    described = Model(
        artifact_path=logged.artifact_location,
        model_uuid=logged.model_id,
        run_id=run.run_id,
        model_id=logged.model_id,
        metadata={ABOUT: dict(about)} if about else None,
    )
    status: Literal["READY", "FAILED"] = "FAILED"
    try:
        with TemporaryDirectory() as folder:
            _save(Path(folder) / "model", described, model, weights, example, kind)
            with store.guard(doing):
                client.log_model_artifacts(logged.model_id, str(Path(folder) / "model"))
        status = "READY"
    finally:
        with store.guard(doing):
            client.finalize_logged_model(logged.model_id, status)
    with store.guard(doing):
        client.log_outputs(run.run_id, [LoggedModelOutput(logged.model_id, step=round_num)])
    return str(logged.model_id)


def has_model(store: Store, model_id: str) -> bool:
    """Return whether the store has a complete logged model with this id."""
    from mlflow.exceptions import MlflowException

    with store.guard(f"find the model {model_id}"):
        try:
            return str(store.client.get_logged_model(model_id).status) == "READY"
        except MlflowException as err:
            if err.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return False
            raise


def _save(
    path: Path,
    described: Any,
    model: ModelSpec,
    weights: Weights,
    example: npt.NDArray[np.generic],
    kind: TaskKind,
) -> None:
    import mlflow.tensorflow
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    float32 = np.dtype(np.float32)
    shape = (-1, model.num_classes) if model.targets is None else (-1, -1, model.num_classes)
    features = TensorSpec(
        np.dtype(np.int32 if model.tokens else np.float32),
        (-1, *(size or -1 for size in _feature_shape(model))),
    )
    name = None if kind == "classification" else PREDICTION_NAMES[kind]
    signature = ModelSignature(Schema([features]), Schema([TensorSpec(float32, shape, name)]))
    # Without requirements MLflow would load the model in another process to see what it imports,
    # and look for a pip.
    requirements = [
        f"{package}=={metadata.version(package)}" for package in ("mlflow", "tensorflow", "numpy")
    ]
    environment = {
        "name": "mlflow-env",
        "channels": ["conda-forge"],
        "dependencies": [f"python={platform.python_version()}", "pip", {"pip": requirements}],
    }
    mlflow.tensorflow.save_model(
        classifier(model, weights, kind),
        str(path),
        mlflow_model=described,
        signature=signature,
        input_example=to_input(example).numpy(),
        conda_env=environment,
    )


def classifier(model: ModelSpec, weights: Weights, kind: TaskKind = "classification") -> Any:
    """Return the model with its weights as a TensorFlow module of one function, from features to
    what it predicts: probabilities, or the numbers of a regression.
    """
    import tensorflow as tf

    features = tf.TensorSpec(
        (None, *_feature_shape(model)), tf.int32 if model.tokens else tf.float32, name="features"
    )

    class Classifier(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            # A list: TF 2.14's wrappers of dicts and tuples do not save with newer versions of
            # wrapt.
            self.tensors = [
                tf.Variable(weights[name], name=name, trainable=False)
                for name in model.tensor_names
            ]

        @tf.function(input_signature=[features])  # type: ignore[untyped-decorator]
        def __call__(self, features: Any) -> Any:
            return predicted(kind, model.logits(self.tensors, features))

    return Classifier()


def _feature_shape(model: ModelSpec) -> tuple[int | None, ...]:
    """Return the shape of the features; of tokens the length is free: None."""
    if model.tokens:
        return (None,)
    return model.feature_shape
