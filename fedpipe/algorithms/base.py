"""What the round loop asks of an algorithm.

An algorithm never sees a disk, a log or a store: it is an initial state and a pure step from one
state to the next. Both call TFF computations, in whatever execution context the engine has
installed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from fedpipe.types import Weights


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
