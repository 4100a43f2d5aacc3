"""The run's model for TFF's learning processes."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from fedpipe.errors import ConfigError
from fedpipe.models import ModelSpec
from fedpipe.seeding import derive_seed
from fedpipe.tasks import Task
from fedpipe.tasks.training import predicted_classes


def functional_model(model: ModelSpec, batch_spec: Any, seed: int, task: Task | None = None) -> Any:
    """Return a model as a `tff.learning.models.FunctionalModel`.

    Its loss is the mean of the task's over a batch. Its metrics are `loss`, `accuracy` where
    predictions are classes, and `num_examples`. What the model draws while it trains, as dropout
    does, follows from the seed, the batch and the weights, so that it repeats.

    Args:
        model: its outputs are differentiated.
        batch_spec: the element spec of a batch.
        seed: of the initial weights and of what is drawn.
        task: what is learned; None: to tell classes apart, by their cross-entropy.

    Raises:
        ConfigError: the model predicts several labels of an example, which it makes of the
            features: a loss of TFF's has outputs and labels alone.
    """
    if model.targets is not None:
        raise ConfigError(
            f"run.tff_model(): expected a model with one prediction for each example, "
            f"model.name={model.name} has more. Build the process with a model of your own."
        )
    has_classes = task is None or task.has_classes
    draws = derive_seed(seed, "process", "draws")

    @tf.function
    def predict(weights: Any, x: Any, training: bool) -> Any:
        tensors = list(weights[0])
        if not training or model.train_logits is None:
            return model.logits(tensors, x)
        return model.train_logits(tensors, x, tf.stack([draws, _bits(tensors, x)]))

    @tf.function
    def loss(output: Any, label: Any, sample_weight: Any = None) -> Any:
        del sample_weight
        if task is None or task.is_cross_entropy:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=label, logits=output)
        else:
            losses = task.loss(output, label)
        return tf.reduce_mean(losses)

    @tf.function
    def initialize() -> Any:
        sums = OrderedDict(loss=0.0, num_examples=0)
        if has_classes:
            sums["correct"] = 0.0
        return sums

    @tf.function
    def update(state: Any, labels: Any, batch_output: Any, sample_weight: Any = None) -> Any:
        del sample_weight
        count = batch_output.num_examples
        sums = OrderedDict(
            loss=state["loss"] + batch_output.loss * tf.cast(count, tf.float32),
            num_examples=state["num_examples"] + count,
        )
        if has_classes:
            kind = "classification" if task is None else task.kind
            hits = tf.equal(predicted_classes(kind, batch_output.predictions), labels)
            sums["correct"] = state["correct"] + tf.reduce_sum(tf.cast(hits, tf.float32))
        return sums

    @tf.function
    def finalize(state: Any) -> Any:
        count = tf.cast(state["num_examples"], tf.float32)
        metrics = OrderedDict(
            loss=tf.math.divide_no_nan(state["loss"], count), num_examples=state["num_examples"]
        )
        if has_classes:
            metrics["accuracy"] = tf.math.divide_no_nan(state["correct"], count)
        return metrics

    return tff.learning.models.FunctionalModel(
        initial_weights=(tuple(model.initial_weights(seed).values()), ()),
        predict_on_batch_fn=predict,
        loss_fn=loss,
        metrics_fns=(initialize, update, finalize),
        input_spec=batch_spec,
    )


def _bits(weights: Sequence[Any], x: Any) -> Any:
    """Return an int64 that differs between batches and between steps."""
    sums = [tf.reduce_sum(tensor) for tensor in weights]
    sums.append(tf.reduce_sum(tf.cast(x, tf.float32)))
    words = tf.cast(tf.bitcast(tf.stack(sums), tf.int32), tf.int64)
    factors = tf.range(1, 2 * len(sums), 2, dtype=tf.int64) * 2654435761
    return tf.reduce_sum(words * factors)
