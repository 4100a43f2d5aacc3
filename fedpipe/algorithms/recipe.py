"""An algorithm as three parts, which the composer joins: what a client does, how updates are
joined, what the server does with them.

Most algorithms of the literature are FedAvg with one part changed, and their file says that one
part. A recipe runs in both arrangements (groups of clients, one value per client) and, with
`runtime.debug`, in this process.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fedpipe.algorithms.aggregation import Aggregation, build_aggregation
from fedpipe.algorithms.augment import build_augment
from fedpipe.algorithms.base import Algorithm
from fedpipe.algorithms.client_work import ClientWork
from fedpipe.algorithms.optimizers import build_optimizer, build_server_optimizer
from fedpipe.algorithms.process_batches import ExampleSpec, example_spec
from fedpipe.algorithms.process_model import functional_model
from fedpipe.algorithms.stateful_clients import StatefulClients
from fedpipe.config import Config
from fedpipe.data.population import Population
from fedpipe.models import ModelSpec
from fedpipe.tasks import Task


@dataclass(frozen=True)
class Run:
    """The run that an algorithm is built for.

    Attributes:
        config: the run's settings.
        model: what is trained.
        population: the clients and their training examples.
        cache_dir: folder for resident client files.
        noise_key: 32 secret bytes that a private run draws its noise from; None of other runs and
            with `privacy.repeatable`.
        task: what is learned: kind, loss and metrics; None: to tell classes apart.
    """

    config: Config
    model: ModelSpec
    population: Population
    cache_dir: Path
    noise_key: bytes | None = field(default=None, repr=False)
    task: Task | None = None

    @property
    def example_spec(self) -> ExampleSpec:
        """Return what an example's features and label are."""
        return example_spec(self.population.manifest)

    @property
    def batch_spec(self) -> tuple[Any, Any]:
        """Return the `tf.TensorSpec` of features and labels of a batch, the `input_spec` of a model
        for TFF: float32, or int32 of tokens, [None, *feature_shape], and int32 [None], or float32
        [None, targets] of multilabel and regression.
        """
        return self.example_spec.batch

    def tff_model(self) -> Any:
        """Return the run's model as a `tff.learning.models.FunctionalModel`, with the loss of its
        task.
        """
        return functional_model(self.model, self.batch_spec, self.config.seed, self.task)


@dataclass(frozen=True)
class Recipe:
    """An algorithm's three parts; change one with `dataclasses.replace`.

    Attributes:
        work: what a client does.
        aggregation: how updates are joined; decides whether clients may be grouped.
        server_optimizer: a `tff.learning.optimizers.Optimizer`; its gradient is the negated
            aggregate; `None` is the one of the settings under `server`.
        clients: what clients keep from round to round; `None` is nothing.
        wrap: takes the `Algorithm` that runs the parts and returns the one that the round loop
            runs, as for metrics of its own; `None` leaves it.
    """

    work: ClientWork
    aggregation: Aggregation
    server_optimizer: Any = None
    clients: StatefulClients | None = None
    wrap: Callable[[Algorithm], Algorithm] | None = None


def averaging(run: Run, server_optimizer: Any = None) -> Recipe:
    """Return the recipe of generalized Federated Averaging with all that the settings say; the
    others start from it.

    `server_optimizer` takes the place of the one that `server.optimizer` names.
    """
    manifest = run.population.manifest
    work = build_client_work(
        run.config,
        run.model,
        np.dtype(manifest.feature_dtype),
        manifest.variable_length,
        manifest.target_width,
        task=run.task,
    )
    if run.config.privacy.on:
        from fedpipe.algorithms.private import (
            private_mean,
        )  # TensorFlow Privacy takes half a second

        aggregation = private_mean(
            run.config,
            [tensor.shape for tensor in run.model.initial_weights(run.config.seed).values()],
            run.noise_key,
        )
    else:
        aggregation = build_aggregation(run.config.aggregator)
    return Recipe(work, aggregation, server_optimizer or build_server_optimizer(run.config.server))


def build_client_work(
    config: Config,
    model: ModelSpec,
    feature_dtype: np.dtype[Any],
    variable_length: bool = False,
    target_width: int | None = None,
    task: Task | None = None,
) -> ClientWork:
    """Return the client work of a run's settings.

    Args:
        config: the settings.
        model: the model.
        feature_dtype: uint8, float32 or int32.
        variable_length: whether features are sequences that end in padding.
        target_width: float32 targets of an example; None: its label is an int32.
        task: what is learned; None: to tell classes apart.
    """
    client = config.client
    return ClientWork(
        model,
        build_optimizer(client.optimizer, client.learning_rate, client.momentum),
        feature_dtype,
        client.batch_size,
        client.epochs,
        client.max_steps,
        client.shuffle,
        client.weighting,
        by_value=config.runtime.data == "by_value",
        variable_length=variable_length,
        target_width=target_width,
        augment=build_augment(client.augment),
        task=task,
    )
