"""Federated averaging of TFF's own on a Keras model: nothing here is written for fedpipe but `run`."""

import tensorflow as tf
import tensorflow_federated as tff


def keras_model(feature_shape, outputs):
    """Return softmax regression that starts at zero; its outputs are logits."""
    return tf.keras.Sequential(
        [
            tf.keras.layers.InputLayer(feature_shape),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(outputs, kernel_initializer="zeros"),
        ]
    )


def build(run):
    """Return the `tff.learning.templates.LearningProcess`.

    `run.batch_spec` is the element spec of a client's batches, `run.config` the settings.
    """

    def model_fn():
        return tff.learning.models.from_keras_model(
            keras_model(run.model.feature_shape, run.model.num_classes),
            input_spec=run.batch_spec,
            loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=[tf.keras.metrics.SparseCategoricalAccuracy()],
        )

    return tff.learning.algorithms.build_weighted_fed_avg(
        model_fn,
        client_optimizer_fn=tff.learning.optimizers.build_sgdm(run.config.client.learning_rate),
        server_optimizer_fn=tff.learning.optimizers.build_sgdm(1.0),
    )
