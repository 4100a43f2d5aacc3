"""Logs the trained model to MLflow: a TensorFlow SavedModel that loads without fedpipe and without
a pickle.

`mlflow.pyfunc.load_model(f"models:/{model_id}").predict(x)` takes float32 [n, *feature_shape],
pixels already in 0..1, or int32 tokens [n, length], padded with 0; of a model whose steps of
preprocessing all work on numbers the raw ones, before the steps. It gives float32 [n, outputs]:
class probabilities, the probability of the positive class, a probability for each label, or a
number for each target; or [n, length, tokens] where each token is followed by a prediction. It also
loads with `MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false`.
"""

import platform
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fedpipe.config.task import TaskKind
from fedpipe.data.preprocess.steps import FittedSteps
from fedpipe.errors import ModelError
from fedpipe.models import ModelSpec
from fedpipe.models.evaluate import to_input
from fedpipe.models.preprocess_graph import preprocess_graph
from fedpipe.tasks.saved_outputs import PREDICTION_NAMES, predicted
from fedpipe.tracking.run import TrackedRun
from fedpipe.tracking.store import Store
from fedpipe.tracking.tags import MODEL_ARCHITECTURE, MODEL_ROUND, MODEL_WEIGHTS_SHA256
from fedpipe.types import Weights, weights_sha256

_saving = threading.Lock()
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
    steps: FittedSteps | None = None,
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
        steps: of preprocessing; where all of them work on numbers, the model takes raw numbers.

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
            module = classifier(model, weights, kind, steps)
            _save(Path(folder) / "model", described, model, module, example, kind)
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
    module: Any,
    example: npt.NDArray[np.generic],
    kind: TaskKind,
) -> None:
    import mlflow.tensorflow
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    float32 = np.dtype(np.float32)
    shape = (-1, model.num_classes) if model.targets is None else (-1, -1, model.num_classes)
    sizes = list(_feature_shape(model))
    given = to_input(example).numpy()
    if hasattr(module, "prepared"):
        sizes = module.raw_sizes
        given = np.zeros((len(example), *sizes), np.float32)
    features = TensorSpec(
        np.dtype(np.int32 if "int32" in model.takes else np.float32),
        (-1, *[size or -1 for size in sizes]),
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
    with _without_scan_of_packages():
        mlflow.tensorflow.save_model(
            module,
            str(path),
            mlflow_model=described,
            signature=signature,
            input_example=given,
            conda_env=environment,
        )


@contextmanager
def _without_scan_of_packages() -> Iterator[None]:
    """Keep MLflow from comparing the requirements with what is installed, which is where they come
    from: it would list the files of all packages, in 0.8 s.
    """
    from mlflow.utils import environment

    name = "warn_dependency_requirement_mismatches"
    with _saving:
        original = getattr(environment, name)
        setattr(environment, name, lambda _: None)
        try:
            yield
        finally:
            setattr(environment, name, original)


def classifier(
    model: ModelSpec,
    weights: Weights,
    kind: TaskKind = "classification",
    steps: FittedSteps | None = None,
) -> Any:
    """Return the model with its weights as a TensorFlow module, a function from features to what it
    predicts: probabilities, or the numbers of a regression.

    Where all steps of preprocessing work on numbers, the function takes raw numbers, and another,
    `prepared`, the features after the steps.
    """
    import tensorflow as tf

    features = tf.TensorSpec(
        (None, *_feature_shape(model)),
        tf.int32 if "int32" in model.takes else tf.float32,
        name="features",
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

        @tf.function(input_signature=[features], autograph=False)  # type: ignore[untyped-decorator]
        def __call__(self, features: Any) -> Any:
            return predicted(kind, model.logits(self.tensors, features))

    prepared_model = Classifier()
    graph = preprocess_graph(steps)
    if graph is None:
        return prepared_model
    raw = tf.TensorSpec((None, *graph.shape), tf.float32, name="features")
    raw_sizes = list(graph.shape)
    apply_steps = graph.apply

    class RawClassifier(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = prepared_model
            self.raw_sizes = raw_sizes

        @tf.function(input_signature=[raw])  # type: ignore[untyped-decorator]
        def __call__(self, features: Any) -> Any:
            return self.model(apply_steps(features))

        @tf.function(input_signature=[features])  # type: ignore[untyped-decorator]
        def prepared(self, features: Any) -> Any:
            return self.model(features)

    return RawClassifier()


def _feature_shape(model: ModelSpec) -> tuple[int | None, ...]:
    """Return the shape of the features; of tokens the length is free: None."""
    if "int32" in model.takes:
        return (None,)
    return model.feature_shape
