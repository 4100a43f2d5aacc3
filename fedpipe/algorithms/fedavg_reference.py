"""Federated Averaging in TFF's own primitives, to be read from top to bottom.

This is the algorithm of TFF's tutorial "Building Your Own Federated Learning Algorithm": what is local is a
`tff.tensorflow.computation`, what moves between server and clients is a `tff.federated_computation`. It is the readable
statement of what `fedavg` does fast, and the oracle of its tests. Source: McMahan et al. 2017 (arXiv 1602.05629),
Algorithm 1; as in the tutorial, and unlike the paper, the mean over clients is not weighted by their examples.

    server weights --broadcast--> each client: a pass of SGD over its batches --mean--> the next server weights
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedpipe.algorithms.base import RoundResult
from fedpipe.algorithms.failures import NOT_FINITE, require_reports
from fedpipe.algorithms.recipe import Run
from fedpipe.config import Config
from fedpipe.errors import ConfigError, DataError
from fedpipe.models import ModelSpec
from fedpipe.models.evaluate import to_input
from fedpipe.types import Examples, Weights

# --- The model ---------------------------------------------------------------------------------------------------------


def create_keras_model(spec: ModelSpec) -> tf.keras.Model:
    """Return the Keras model: for softmax regression, 784 inputs, a dense layer that starts at zero, and a softmax.

    Raises:
        ConfigError: the model has none, because Keras' dropout is not drawn from a seed, or its features are tokens.
    """
    if spec.keras is None:
        raise ConfigError(
            f"algorithm.name=fedavg_reference: expected a model with a Keras form, model.name={spec.name} has none. Choose fedavg."
        )
    return spec.keras()


def batch_spec(spec: ModelSpec) -> tuple[tf.TensorSpec, tf.TensorSpec]:
    """Return the type of one batch: features float32 [n, *keras_input_shape] and labels int32 [n, 1]."""
    features = create_keras_model(spec).input_shape[1:]
    return tf.TensorSpec((None, *features), tf.float32), tf.TensorSpec((None, 1), tf.int32)


def make_model_fn(spec: ModelSpec) -> Any:
    """Return `model_fn`: it builds the model anew, inside whatever graph TFF is tracing."""
    element = batch_spec(spec)

    def model_fn() -> tff.learning.models.VariableModel:
        return tff.learning.models.from_keras_model(
            create_keras_model(spec),
            input_spec=element,
            loss=tf.keras.losses.SparseCategoricalCrossentropy(),
            metrics=[tf.keras.metrics.SparseCategoricalAccuracy()],
        )

    return model_fn


# --- What is local -----------------------------------------------------------------------------------------------------


@tf.function
def client_update(model: Any, dataset: Any, server_weights: Any, learning_rate: float) -> Any:
    """Return one client's weights: start from the server's, take one SGD step per batch of the client's dataset."""
    client_weights = model.trainable_variables
    tf.nest.map_structure(lambda mine, theirs: mine.assign(theirs), client_weights, server_weights)
    for batch in dataset:
        with tf.GradientTape() as tape:
            outputs = model.forward_pass(batch)
        gradients = tape.gradient(
            outputs.loss, client_weights, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        for weight, gradient in zip(client_weights, gradients, strict=True):
            weight.assign_sub(learning_rate * gradient)
    return client_weights


@tf.function
def server_update(model: Any, mean_client_weights: Any) -> Any:
    """Return the server's next weights: the mean of the clients' weights."""
    server_weights = model.trainable_variables
    tf.nest.map_structure(lambda mine, mean: mine.assign(mean), server_weights, mean_client_weights)
    return server_weights


@tf.function
def client_evaluation(model: Any, dataset: Any, server_weights: Any) -> Any:
    """Return sums that merge over clients: of losses (nats), of correct predictions, and of examples; float32 each."""
    tf.nest.map_structure(
        lambda mine, theirs: mine.assign(theirs), model.trainable_variables, server_weights
    )
    loss, correct, examples = 0.0, 0.0, 0.0
    for batch in dataset:
        outputs = model.forward_pass(batch, training=False)
        count = tf.cast(tf.shape(batch[1])[0], tf.float32)
        hits = tf.equal(
            tf.argmax(outputs.predictions, axis=-1, output_type=tf.int32),
            tf.reshape(batch[1], [-1]),
        )
        loss, correct, examples = (
            loss + outputs.loss * count,
            correct + tf.reduce_sum(tf.cast(hits, tf.float32)),
            examples + count,
        )
    return {"loss": loss, "correct": correct, "examples": examples}


# --- What moves --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReferenceProcess:
    """The computations of the algorithm.

    Attributes:
        learning: `initialize: ( -> weights@SERVER)` and `next: (<weights@SERVER, {batches*}@CLIENTS> -> weights@SERVER)`.
        evaluation: `(<weights@SERVER, {batches*}@CLIENTS> -> <correct, examples, loss>@SERVER)`, summed over the clients.
    """

    learning: tff.templates.IterativeProcess
    evaluation: tff.Computation


def build_process(spec: ModelSpec, learning_rate: float, seed: int = 0) -> ReferenceProcess:
    """Return the process for a model, a client learning rate (step size of its SGD) and the seed of the initial weights."""
    model_fn = make_model_fn(spec)
    initial = list(spec.initial_weights(seed).values())

    @tff.tensorflow.computation
    def server_init() -> Any:
        # Through the `tf.function`: outside of one nothing orders the assignment before the read.
        return server_update(model_fn(), initial)

    weights_type = server_init.type_signature.result
    dataset_type = tff.SequenceType(tff.types.tensorflow_to_type(batch_spec(spec)))

    @tff.tensorflow.computation(dataset_type, weights_type)
    def client_update_fn(dataset: Any, server_weights: Any) -> Any:
        return client_update(model_fn(), dataset, server_weights, learning_rate)

    @tff.tensorflow.computation(weights_type)
    def server_update_fn(mean_client_weights: Any) -> Any:
        return server_update(model_fn(), mean_client_weights)

    @tff.tensorflow.computation(dataset_type, weights_type)
    def client_evaluation_fn(dataset: Any, server_weights: Any) -> Any:
        return client_evaluation(model_fn(), dataset, server_weights)

    server_type = tff.FederatedType(weights_type, tff.SERVER)
    clients_type = tff.FederatedType(dataset_type, tff.CLIENTS)

    @tff.federated_computation
    def initialize_fn() -> Any:
        return tff.federated_eval(server_init, tff.SERVER)

    @tff.federated_computation(server_type, clients_type)
    def next_fn(server_weights: Any, federated_dataset: Any) -> Any:
        server_weights_at_client = tff.federated_broadcast(server_weights)
        client_weights = tff.federated_map(
            client_update_fn, (federated_dataset, server_weights_at_client)
        )
        mean_client_weights = tff.federated_mean(client_weights)
        return tff.federated_map(server_update_fn, mean_client_weights)

    @tff.federated_computation(server_type, clients_type)
    def evaluation_fn(server_weights: Any, federated_dataset: Any) -> Any:
        server_weights_at_client = tff.federated_broadcast(server_weights)
        return tff.federated_sum(
            tff.federated_map(client_evaluation_fn, (federated_dataset, server_weights_at_client))
        )

    return ReferenceProcess(tff.templates.IterativeProcess(initialize_fn, next_fn), evaluation_fn)


# --- For the round loop ------------------------------------------------------------------------------------------------


class ClientExamples(Protocol):
    """What the algorithm asks of a population."""

    def examples(self, client_id: str) -> Examples:
        """Return the client's training examples."""


class FedAvgReference:
    """The process above, bound to a population: an `Algorithm` for the round loop."""

    def __init__(self, spec: ModelSpec, config: Config, population: ClientExamples) -> None:
        """Build the computations; client data is read when a round needs it."""
        self._spec, self._population, self._client, self._least = (
            spec,
            population,
            config.client,
            config.cohort.min_reports,
        )
        self._features = batch_spec(spec)[0].shape[1:]
        self.process = build_process(spec, config.client.learning_rate, config.seed)

    @property
    def info(self) -> Mapping[str, str]:
        """Return how the algorithm is computed: one value per client, data sent from Python."""
        return {
            "algorithm.arrangement": "one value per client",
            "algorithm.data": "datasets sent with each round",
        }

    def initialize(self) -> Any:
        """Return the initial weights at the server."""
        return self.process.learning.initialize()

    def expect(self, cohort: tuple[str, ...]) -> None:
        """Do nothing: datasets are made in the round, as in the tutorial."""

    def next(self, state: Any, round_num: int, cohort: tuple[str, ...]) -> RoundResult:
        """Run one round. `train/*` are of the weights that the round starts from, on one pass over the cohort's examples.

        Clients whose examples cannot be read, or whose weights or loss are not finite, take no part.

        Raises:
            RoundError: fewer than `cohort.min_reports` clients reported.
        """
        clients, failed = self._readable(cohort)
        require_reports(round_num, len(cohort), failed, self._least)
        next_state, sums = self._round(state, list(clients.values()))
        if not _finite(next_state, sums):
            for client_id, examples in clients.items():
                if not _finite(*self._round(state, [examples])):
                    failed[client_id] = NOT_FINITE
            require_reports(round_num, len(cohort), failed, self._least)
            next_state, sums = self._round(
                state,
                [examples for client_id, examples in clients.items() if client_id not in failed],
            )
        count = int(sums["examples"])
        metrics = {
            "train/loss": float(sums["loss"]) / count,
            "train/accuracy": float(sums["correct"]) / count,
        }
        return RoundResult(next_state, metrics, count * self._client.epochs, tuple(sorted(failed)))

    def weights(self, state: Any) -> Weights:
        """Return the server's weights by name."""
        return dict(zip(self._spec.tensor_names, map(np.asarray, state), strict=True))

    def _round(self, state: Any, clients: list[Examples]) -> tuple[Any, Any]:
        """Return the next weights, and the sums of an evaluation of these ones."""
        passes, epochs = [self._dataset(examples, 1) for examples in clients], self._client.epochs
        sums = self.process.evaluation(state, passes)
        datasets = (
            passes if epochs == 1 else [self._dataset(examples, epochs) for examples in clients]
        )
        return self.process.learning.next(state, datasets), sums

    def _readable(self, cohort: tuple[str, ...]) -> tuple[dict[str, Examples], dict[str, str]]:
        """Return the examples of the clients that have some that can be read, and of the others why not."""
        found, failed = {}, {}
        for client_id in cohort:
            try:
                found[client_id] = self._population.examples(client_id)
            except DataError as err:
                failed[client_id] = str(err)
        return found, failed

    def _dataset(self, examples: Examples, epochs: int) -> tf.data.Dataset:
        x = tf.reshape(to_input(examples.x), (-1, *self._features))
        y = tf.reshape(examples.y, (-1, 1))
        return (
            tf.data.Dataset.from_tensor_slices((x, y)).batch(self._client.batch_size).repeat(epochs)
        )


def _finite(weights: Any, sums: Any) -> bool:
    return all(np.isfinite(value).all() for value in (*weights, sums["loss"]))


def build_reference(run: Run) -> FedAvgReference:
    """Return the reference algorithm; it needs no cache."""
    return FedAvgReference(run.model, run.config, run.population)
