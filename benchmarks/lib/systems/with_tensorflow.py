"""What the TensorFlow systems share: the model, evaluation, and the clients' data as the tutorial makes it."""

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.lib.systems.line import Job
from fedpipe.config import Config
from fedpipe.models import ModelSpec, build_model
from fedpipe.models.evaluate import Evaluator
from fedpipe.types import Examples


def model_of(job: Job) -> ModelSpec:
    """Return the job's model."""
    config = Config.model_validate({"model": {"name": job.model}})
    return build_model(config, job.x.shape[2:], 10)


def evaluator_of(job: Job) -> Callable[[Sequence[Any]], float]:
    """Return the function that takes weights in the model's order and returns the accuracy on the common test set."""
    spec = model_of(job)
    evaluator = Evaluator(spec, Examples(job.test_x, job.test_y))
    return lambda weights: (
        evaluator.evaluate(dict(zip(spec.tensor_names, weights, strict=True))).accuracy
    )


def tutorial_datasets(job: Job) -> list[Any]:
    """Return a `tf.data.Dataset` for each client, preprocessed as in TFF's tutorial; made once, before the first round."""
    import tensorflow as tf

    shape = model_of(job).keras().input_shape[1:]

    def batch_format(x: Any, y: Any) -> Any:
        return tf.reshape(x, (-1, *shape)), tf.reshape(y, (-1, 1))

    return [
        tf.data.Dataset.from_tensor_slices((x.astype("float32") / 255, y))
        .batch(job.batch_size)
        .map(batch_format)
        for x, y in zip(job.x, job.y, strict=True)
    ]
