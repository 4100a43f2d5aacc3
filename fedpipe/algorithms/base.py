"""The interface between the round loop and an algorithm.

An algorithm is an initial state and a pure step from one state to the next. Both call TFF
computations, in whatever execution context the engine has installed. It opens no file, connection
or store: clients' examples come from `client_refs.ClientFiles`, and what the computations raise
are the exceptions of this module and of the engine.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from fedpipe.types import Weights


class ComputationError(Exception):
    """A TFF computation failed by its own fault, not by its worker's; the text is the worker's."""


@dataclass(frozen=True)
class RoundResult:
    """The outcome of one round.

    Attributes:
        state: the next server state.
        metrics: `train/loss` (nats per example), `train/accuracy` (fraction) over the training
            examples of the clients that reported, and what else the algorithm measures.
        examples: training examples processed, each epoch counted.
        failed: ids of clients that did not report, sorted: their data could not be read, or their
            update was not finite.
    """

    state: Any
    metrics: Mapping[str, float]
    examples: int
    failed: tuple[str, ...] = field(default=())


class Algorithm(Protocol):
    """One federated algorithm, bound to its model and its population.

    One that also has the attribute `takes_empty_cohorts`, true, is asked for rounds in which nobody
    reports; others are not.
    """

    @property
    def info(self) -> Mapping[str, str]:
        """Return what the run should record of how the algorithm is computed, by name."""

    def initialize(self) -> Any:
        """Return the server state of round 0."""

    def expect(self, cohort: tuple[str, ...]) -> None:
        """Take the cohort of the round after the one that `next` is now asked for, so that its data
        can be brought meanwhile.

        A hint: results do not depend on it, and it returns at once.
        """

    def next(self, state: Any, round_num: int, cohort: tuple[str, ...]) -> RoundResult:
        """Return the state after round `round_num` with the clients `cohort`; a pure function of
        its arguments.
        """

    def weights(self, state: Any) -> Weights:
        """Return the server's weights in `state`."""


@dataclass(frozen=True)
class AlgorithmWrapper:
    """An `Algorithm` that does what another one does; a subclass says what differs."""

    algorithm: Algorithm

    @property
    def info(self) -> Mapping[str, str]:
        """Return what the algorithm says."""
        return self.algorithm.info

    def initialize(self) -> Any:
        """Return the algorithm's state of round 0."""
        return self.algorithm.initialize()

    def expect(self, cohort: tuple[str, ...]) -> None:
        """Pass the hint on."""
        self.algorithm.expect(cohort)

    def next(self, state: Any, round_num: int, cohort: tuple[str, ...]) -> RoundResult:
        """Return the algorithm's round."""
        return self.algorithm.next(state, round_num, cohort)

    def weights(self, state: Any) -> Weights:
        """Return the algorithm's weights."""
        return self.algorithm.weights(state)
