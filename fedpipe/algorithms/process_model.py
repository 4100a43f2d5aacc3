"""The run's model for TFF's learning processes."""

from collections import OrderedDict
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from fedpipe.models import ModelSpec


def functional_model(model: ModelSpec, batch_spec: Any, seed: int) -> Any:
    """Return a model as a `tff.learning.models.FunctionalModel`.

    Its loss is the mean cross-entropy of a batch, its metrics `loss`, `accuracy` and
    `num_examples`. What the model draws while it trains, as dropout does, is left out.

    Args:
        model: its logits are differentiated.
        batch_spec: the element spec of a batch.
        seed: of the initial weights.
    """

    @tf.function
    def predict(weights: Any, x: Any, training: bool) -> Any:
        del training
        return model.logits(list(weights[0]), x)

    @tf.function
    def loss(output: Any, label: Any, sample_weight: Any = None) -> Any:
        del sample_weight
        return tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=label, logits=output)
        )

    @tf.function
    def initialize() -> Any:
        return OrderedDict(loss=0.0, correct=0.0, num_examples=0)

    @tf.function
    def update(state: Any, labels: Any, batch_output: Any, sample_weight: Any = None) -> Any:
        del sample_weight
        hits = tf.equal(tf.argmax(batch_output.predictions, -1, tf.int32), labels)
        count = batch_output.num_examples
        return OrderedDict(
            loss=state["loss"] + batch_output.loss * tf.cast(count, tf.float32),
            correct=state["correct"] + tf.reduce_sum(tf.cast(hits, tf.float32)),
            num_examples=state["num_examples"] + count,
        )

    @tf.function
    def finalize(state: Any) -> Any:
        count = tf.cast(state["num_examples"], tf.float32)
        return OrderedDict(
            loss=tf.math.divide_no_nan(state["loss"], count),
            accuracy=tf.math.divide_no_nan(state["correct"], count),
            num_examples=state["num_examples"],
        )

    return tff.learning.models.FunctionalModel(
        initial_weights=(tuple(model.initial_weights(seed).values()), ()),
        predict_on_batch_fn=predict,
        loss_fn=loss,
        metrics_fns=(initialize, update, finalize),
        input_spec=batch_spec,
    )
