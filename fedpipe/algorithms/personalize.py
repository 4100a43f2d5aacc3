"""Personalization: what a model gains when each client trains it further, for some steps, on its
own examples alone.

Fine-tuning, as Wang et al. 2019 (arXiv 1910.10252) evaluate it: from the server's weights, with the
client's optimizer, rate and batches of the settings; the client's test examples say what came of
it. Nothing goes back to the server.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from fedpipe.algorithms.recipe import build_client_work
from fedpipe.config import Config
from fedpipe.data.population import Population
from fedpipe.data.resident import to_bytes
from fedpipe.models.evaluate import Predictor
from fedpipe.models.federated import evaluate_clients
from fedpipe.models.trainable import frozen_weights, trained_part, with_frozen
from fedpipe.seeding import derive_seed
from fedpipe.tasks import Task
from fedpipe.types import Weights


def personalized_scores(
    config: Config,
    predictor: Predictor,
    weights: Weights,
    population: Population,
    client_ids: Sequence[str],
) -> npt.NDArray[np.float64]:
    """Return float64 [clients], the metric that chooses of each client's test examples after
    `eval.personalize_steps` steps; NaN for one that has nothing to train on, or where the metric
    does not exist.

    Args:
        config: settings under `client`, `eval.personalize_steps` and `seed`.
        predictor: of the model and its task.
        weights: from which each client starts.
        population: the clients.
        client_ids: whose; each has test examples.
    """
    model = predictor.model
    manifest = population.manifest
    steps = config.eval.personalize_steps
    part = trained_part(model, weights)
    frozen = frozen_weights(model, weights)
    work = build_client_work(
        config,
        part,
        np.dtype(manifest.feature_dtype),
        manifest.variable_length,
        manifest.target_width,
        task=without_metrics(predictor.task),
    )
    work = replace(work, epochs=steps, max_steps=steps, by_value=True, local_gradient=None)
    start = [tf.constant(weights[name]) for name in part.tensor_names]

    def fine_tuned(start: Any, data: Any, count: Any, seed: Any) -> Any:
        return tf.nest.map_structure(tf.add, start, work(start, data, count, seed).update)

    train = tf.function(fine_tuned)
    trainable = population.client_ids("train")
    values = np.full(len(client_ids), np.nan)
    for number, client_id in enumerate(client_ids):
        if client_id in trainable:
            examples = population.examples(client_id, "train")
            seed = tf.constant(derive_seed(config.seed, "personalize", client_id), tf.int64)
            tensors = train(
                start,
                tf.constant(to_bytes(examples, client_id)),
                tf.constant(len(examples), tf.int64),
                seed,
            )
            arrays = [tensor.numpy() for tensor in tensors]
            tuned = with_frozen(model, dict(zip(part.tensor_names, arrays, strict=True)), frozen)
            scores = evaluate_clients(predictor, tuned, population, [client_id])
            values[number] = scores.of(predictor.task.choose_by)[0]
    return values


def without_metrics(task: Task) -> Task:
    """Return the task without metrics, which nobody reads of this training."""
    return replace(task, metrics=())
