"""Runs a TFF process of the user's own: a `tff.learning.templates.LearningProcess` or a
`tff.templates.IterativeProcess`, as it is.

    refs@CLIENTS --> dataset of the client (built in the worker) --+
                                                                   +--> process.next
    state@SERVER --------------------------------------------------+

TFF composes the two computations (`tff.simulation.compose_dataset_computation_with_computation`);
the process itself is not changed.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_federated as tff

from fedpipe.algorithms.base import ComputationError, RoundResult
from fedpipe.algorithms.client_refs import ClientFile, ClientFiles, ClientRefs
from fedpipe.algorithms.failures import NOT_FINITE, failing, readable, require_reports
from fedpipe.algorithms.own_process import OwnProcess
from fedpipe.algorithms.process_batches import (
    BatchPlan,
    BatchTypeError,
    build_dataset_computation,
    dataset_types,
    plan_batches,
)
from fedpipe.algorithms.process_draws import stateful_draws
from fedpipe.algorithms.process_values import (
    MetricNames,
    ProcessValueError,
    StateLayout,
    Tensor,
    WeightNames,
    flat_values,
    pack,
    tensors_of,
    tensors_of_value,
    weights_in,
)
from fedpipe.algorithms.recipe import Run, build_client_work
from fedpipe.errors import ConfigError, RoundError, shorten
from fedpipe.types import Weights

DRAWS = "algorithm.draws"
"""Ops of the process whose draws the run's seed does not determine, or `none`."""
REJECTED = "finalizer/update_non_finite"
"""TFF's count of updates that its server left out because they are not finite."""

logger = logging.getLogger("fedpipe.algorithms")


class ProcessAlgorithm:
    """An `Algorithm` for the round loop: a TFF process bound to a population.

    Its state is the process's, as arrays by path.
    """

    def __init__(
        self,
        run: Run,
        own: OwnProcess,
        files: ClientFiles,
    ) -> None:
        """Compose the process with its clients' datasets, and make its first state.

        Args:
            run: the run.
            own: what the user's function returned.
            files: the clients' examples.

        Raises:
            ConfigError: the data cannot give what its clients take, its weights are not those of
                the run's model, its state holds no numbers, or a metric has a name that cannot be
                recorded.
        """
        config = run.config
        self._config = config
        self._model = run.model
        self._files = files
        self._own = own
        self._process = process = own.process
        self._where = f"algorithm.name={config.algorithm.name}"
        spec = run.example_spec
        manifest = run.population.manifest
        self._work = build_client_work(
            config,
            run.model,
            np.dtype(manifest.feature_dtype),
            manifest.variable_length,
            manifest.target_width,
        )
        self._refs = ClientRefs(config.seed, self._work.by_value, remote=False)
        try:
            self._plan = self._plan_batches(run)
            self._layout = StateLayout(process.state_type)
            self._state_is_result = process.state_type.is_assignable_from(
                process.next.type_signature.result
            )
            self._metric_names = MetricNames(self._metrics_type())
        except ProcessValueError as err:
            raise ConfigError(f"{self._where}: {err}. See docs/algorithms.md.") from err
        self._next = tff.simulation.compose_dataset_computation_with_computation(
            build_dataset_computation(self._plan, self._work, spec), process.next
        )
        self._initial = process.initialize()
        self._set_initial_weights(run)
        self._read_weights = self._weights_reader(own.weights_of_state)
        self._draws = ", ".join(
            sorted({*stateful_draws(process.initialize), *stateful_draws(process.next)})
        )
        if self._draws:
            logger.warning(
                "%s: the process draws with %s, which the run's seed does not determine: a run "
                "that is repeated or resumed has other numbers.",
                *(self._where, self._draws),
            )

    @property
    def info(self) -> Mapping[str, str]:
        """Return the kind of process, what its clients are given, and how data travel."""
        data = "sent with each round" if self._work.by_value else "resident files"
        datasets = dataset_types(self._process.next.type_signature.parameter)
        return {
            "algorithm.process": type(self._process).__name__,
            "algorithm.arrangement": "one value per client: a TFF process sees each client",
            "algorithm.groups": "none",
            DRAWS: self._draws or "none",
            "algorithm.data": f"{data}; the worker builds the clients' datasets",
            "algorithm.batches": datasets[0].compact_representation(),
        }

    def initialize(self) -> Any:
        """Return the server state of round 0."""
        return self._layout.leaves(self._initial)

    def expect(self, cohort: tuple[str, ...]) -> None:
        """Have the cohort's resident files made in the background."""
        self._files.prefetch(cohort)

    def next(self, state: Any, round_num: int, cohort: tuple[str, ...]) -> RoundResult:
        """Run one round; clients that fail take no part (see `failures`).

        Raises:
            RoundError: fewer than `cohort.min_reports` clients reported, or they have no examples.
        """
        least = self._config.cohort.min_reports
        clients, failed = readable(self._files, cohort)
        require_reports(round_num, len(cohort), failed, least)
        if not sum(client.count for client in clients.values()):
            raise RoundError(
                f"round {round_num}: expected training examples at the cohort's clients, found "
                f"none at {shorten(cohort)}. Raise cohort.size, or sample clients that have "
                "examples."
            )
        while True:
            result, newly_failed = self._try(state, round_num, clients)
            if not newly_failed:
                break
            failed |= newly_failed
            require_reports(round_num, len(cohort), failed, least)
            clients = {
                client_id: client
                for client_id, client in clients.items()
                if client_id not in failed
            }
        next_state, metrics = result
        steps, examples = self._processed(clients)
        metrics = {"train/steps": float(steps), **metrics}
        return RoundResult(next_state, metrics, examples, tuple(sorted(failed)))

    def weights(self, state: Any) -> Weights:
        """Return the server's weights by the names of the run's model."""
        return self._read_weights(state)

    def _processed(self, clients: Mapping[str, ClientFile]) -> tuple[int, int]:
        """Return the cohort's steps and examples of a round, each epoch counted."""
        counts = [self._plan.processed(client.count, self._work) for client in clients.values()]
        return sum(steps for steps, _ in counts), sum(examples for _, examples in counts)

    def _try(
        self, state: Any, round_num: int, clients: Mapping[str, ClientFile], again: bool = True
    ) -> tuple[Any, dict[str, str]]:
        """Return next state and metrics, and the clients that failed with the reason; if there are
        some, the first is not to be used.

        `again`: whether resident files that vanish under the round are made again.
        """
        try:
            result = self._compute(state, round_num, clients)
        except (ComputationError, FileNotFoundError) as err:
            if again and not all(client.exists() for client in clients.values()):
                restored, unreadable = readable(self._files, sorted(clients))
                if unreadable:
                    return None, unreadable
                return self._try(state, round_num, restored, again=False)
            if isinstance(err, FileNotFoundError):
                raise

            def run_alone(client_id: str) -> None:
                self._compute(state, round_num, {client_id: clients[client_id]})

            return None, failing(err, round_num, run_alone, sorted(clients))
        if self._finite(*result):
            return result, {}
        failed = [
            client_id
            for client_id in sorted(clients)
            if clients[client_id].count
            and not self._finite(*self._compute(state, round_num, {client_id: clients[client_id]}))
        ]
        # If it is nobody, the process's own arithmetic fails, and the loop refuses the weights.
        return result, dict.fromkeys(failed, NOT_FINITE)

    def _compute(
        self, state: Any, round_num: int, clients: Mapping[str, ClientFile]
    ) -> tuple[Any, dict[str, float]]:
        """Return the next state and the metrics of a round with these clients, sorted by id."""
        refs = []
        for client_id in sorted(clients):
            ref = self._refs.of_client(round_num, 0.0, client_id, clients[client_id])
            del ref["rate"]
            refs.append(ref)
        result = self._next(self._layout.state(state), refs)
        if self._state_is_result:
            return self._layout.leaves(result), {}
        next_state, *rest = tff.structure.from_container(result)
        return self._layout.leaves(next_state), self._metric_names.metrics(rest)

    def _finite(self, state: Any, metrics: Mapping[str, float]) -> bool:
        """Return whether weights and loss are finite, and the server took the update."""
        if metrics.get(REJECTED) or not np.isfinite(metrics.get("train/loss", 0.0)):
            return False
        return all(np.isfinite(tensor).all() for tensor in self.weights(state).values())

    def _plan_batches(self, run: Run) -> BatchPlan:
        """Return how the data become the elements that the process takes. Raises ConfigError if
        they cannot, or if `next` takes something else.
        """
        parameter = self._process.next.type_signature.parameter
        elements = dataset_types(parameter)
        if len(elements) != 1 or not isinstance(parameter, tff.StructType) or len(parameter) != 2:
            raise ConfigError(
                f"{self._where}: expected a process whose next takes its state and the clients' "
                f"datasets, found {parameter.compact_representation():.300}. Keep what else it "
                "needs in its state."
            )
        spec = run.example_spec
        try:
            return plan_batches(elements[0], spec, self._config.client.batch_size)
        except BatchTypeError as err:
            own = tff.SequenceType(tff.types.tensorflow_to_type(spec.batch))
            raise ConfigError(
                f"{self._where}: expected clients' datasets that the data can give, such as "
                f"{own.compact_representation()}, found "
                f"{elements[0].compact_representation():.200}*: {err}. Build the process for "
                "run.batch_spec."
            ) from err

    def _metrics_type(self) -> Any:
        """Return the TFF type of what `next` returns beside the state; None if it is nothing."""
        if self._state_is_result:
            return None
        _, *rest = tff.structure.iter_elements(self._process.next.type_signature.result)
        if len(rest) == 1:
            return rest[0][1]
        return tff.StructType(rest)

    def start_from(self, weights: Weights) -> None:
        """Let round 0 have these weights of the run's model, in the state of a `LearningProcess`.

        Raises:
            ConfigError: the process's weights are not those of the run's model.
        """
        kind = self._process.get_model_weights.type_signature.result
        names = self._names(list(tensors_of(kind)))
        values = pack(kind, iter([weights[name] for name in names.names]))
        self._initial = self._process.set_model_weights(self._initial, values)

    def _set_initial_weights(self, run: Run) -> None:
        """Start from `model.initial` where it is set."""
        if run.config.model.initial is None:
            return
        if not self._own.has_model_weights:
            raise ConfigError(
                f"model.initial={run.config.model.initial} is set but {self._where} returns a "
                f"{type(self._process).__name__}, whose initial weights cannot be set. Start it "
                "from run.model.initial_weights(run.config.seed), and remove model.initial."
            )
        self.start_from(run.model.initial_weights(run.config.seed))

    def _names(self, tensors: Sequence[Tensor]) -> WeightNames:
        """Match weights to the model's. Raises ConfigError if they are others."""
        initial = self._model.initial_weights(self._config.seed)
        try:
            return WeightNames.of(tensors, self._model, initial)
        except ProcessValueError as err:
            raise ConfigError(
                f"{self._where}: {err}. Set model.name to the process's model, or return "
                "(process, weights_of_state)."
            ) from err

    def _weights_reader(self, given: Callable[[Any], Any] | None) -> Callable[[Any], Weights]:
        """Return the function from a state's arrays by path to the weights."""
        layout = self._layout
        compute = given
        if given is None and self._own.has_model_weights:
            compute = self._process.get_model_weights
        if compute is None:
            tensors = weights_in(layout.tensors)
            keys = [tensor.key for tensor in tensors]
            names = self._names(tensors)
            return lambda state: names.weights([state[key] for key in keys], self._model)
        if isinstance(compute, tff.Computation):
            tensors = list(tensors_of(compute.type_signature.result))
        else:
            tensors = list(tensors_of_value(compute(self._initial)))
        names = self._names(tensors)

        def read(state: Any) -> Weights:
            return names.weights(flat_values(compute(layout.state(state))), self._model)

        return read
