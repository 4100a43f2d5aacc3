"""fedpipe's `fedavg` on the CNN written with Keras layers; all else is that of `fedpipe.py`."""

from dataclasses import replace
from typing import Any

from benchmarks.lib.systems.fedpipe import run
from benchmarks.lib.systems.line import Job
from fedpipe.config import Config
from fedpipe.models import ModelSpec, build_model


def cnn(feature_shape: tuple[int, ...], num_classes: int) -> Any:
    """Return the network of McMahan et al. 2017 for images [height, width], as `fedpipe.models.cnn` has it."""
    import tensorflow as tf

    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            layers.Input(feature_shape),
            layers.Reshape((*feature_shape, 1)),
            layers.Conv2D(32, 5, padding="same", activation="relu"),
            layers.MaxPool2D(),
            layers.Conv2D(64, 5, padding="same", activation="relu"),
            layers.MaxPool2D(),
            layers.Flatten(),
            layers.Dense(512, activation="relu"),
            layers.Dense(num_classes),
        ]
    )


def keras_model_of(job: Job) -> ModelSpec:
    """Return the Keras model with the job's weights, which are in the same order."""
    config = Config.model_validate({"model": {"name": f"{__spec__.name}:cnn"}})
    model = build_model(config, job.x.shape[2:], 10)
    weights = dict(zip(model.tensor_names, job.weights.values(), strict=True))
    return replace(model, initial_weights=lambda _seed: dict(weights))


if __name__ == "__main__":
    run(keras_model_of)
