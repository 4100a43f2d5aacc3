"""Frozen values that travel between the layers. Plain Python and NumPy: no TensorFlow, no MLflow,
no Prefect.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Weights = Mapping[str, npt.NDArray[np.float32]]
"""A model's absolute weights by tensor name, in the model's own order. A difference of two is an
update, never `Weights`.
"""


@dataclass(frozen=True)
class Examples:
    """Some labelled examples, as the shards hold them.

    Attributes:
        x: uint8, float32 or int32 [n, *feature_shape]; uint8 pixels are 0..255 and become floats
            (`/ 255`) in the computation; int32 are tokens, and 0 pads a sequence of variable
            length.
        y: int32 [n], class numbers from 0: of classification, binary (1 is positive) and tokens (0
            for all); float32 [n, targets] of regression, and of multilabel (1 where an example has
            the label, else 0).
    """

    x: npt.NDArray[np.generic]
    y: npt.NDArray[np.int32] | npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.y)


class PerClient(dict[str, list[npt.NDArray[Any]]]):
    """What clients keep from round to round, by id: a list of arrays each, alike in dtypes and
    shapes. One not in it has `first`.
    """

    def __init__(
        self,
        first: list[npt.NDArray[Any]],
        values: Mapping[str, list[npt.NDArray[Any]]] | None = None,
    ) -> None:
        """Take what a client has before its first round, and what those have that had one."""
        super().__init__(values or {})
        self.first = first

    def of(self, client_id: str) -> list[npt.NDArray[Any]]:
        """Return what the client has."""
        return self.get(client_id, self.first)

    def updated(self, changes: Mapping[str, list[npt.NDArray[Any]]]) -> "PerClient":
        """Return the same with what these clients have now."""
        return PerClient(self.first, {**self, **changes})


@dataclass(frozen=True)
class Turnout:
    """What became of the clients that a round asked, where that is simulated.

    Attributes:
        reported: ids of those whose reports are taken, sorted.
        dropped: of those that do not report.
        late: of those that report after the deadline.
        surplus: of those that report after enough others.
        available: number of clients that could have been asked.
        seconds: simulated seconds of the round; None where no time is simulated.
    """

    reported: tuple[str, ...]
    dropped: tuple[str, ...]
    late: tuple[str, ...]
    surplus: tuple[str, ...]
    available: int
    seconds: float | None

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Turnout":
        """Return the value that `dataclasses.asdict` made into JSON."""
        reported, dropped, late, surplus = (
            tuple(map(str, body[name])) for name in ("reported", "dropped", "late", "surplus")
        )
        seconds = None if body["seconds"] is None else float(body["seconds"])
        return cls(reported, dropped, late, surplus, int(body["available"]), seconds)

    @property
    def asked(self) -> int:
        """Return how many clients the round asked."""
        return len(self.reported) + len(self.dropped) + len(self.late) + len(self.surplus)


@dataclass(frozen=True)
class CohortPlan:
    """The clients of every round, drawn before the first: a pure function of client ids, settings
    and seed.

    Attributes:
        strategy: name of the sampling strategy.
        seed: the run's seed that the draw started from.
        cohorts: `cohorts[i]` holds the client ids of round `i + 1`, whose work is computed; none of
            a round that is skipped.
        turnouts: `turnouts[i]` says what became of everyone that round `i + 1` asked; empty where
            all report in all rounds.
    """

    strategy: str
    seed: int
    cohorts: tuple[tuple[str, ...], ...]
    turnouts: tuple[Turnout, ...] = ()

    def __len__(self) -> int:
        return len(self.cohorts)

    def cohort(self, round_num: int) -> tuple[str, ...]:
        """Return the client ids of round `round_num`, counted from 1. Raises IndexError outside
        1..rounds.
        """
        if not 1 <= round_num <= len(self.cohorts):
            raise IndexError(f"round {round_num} is outside 1..{len(self.cohorts)}")
        return self.cohorts[round_num - 1]

    def metrics(self, round_num: int, skipped: bool | None = None) -> dict[str, float]:
        """Return what the plan says of round `round_num` under `cohort/`; nothing where all clients
        report in all rounds.

        `skipped`: whether the round was; if not given, a round with an empty cohort is.
        """
        if not self.turnouts or not round_num:
            return {}
        turnout = self.turnouts[round_num - 1]
        counts = {"dropped": turnout.dropped, "late": turnout.late, "surplus": turnout.surplus}
        metrics = {
            "cohort/available": float(turnout.available),
            "cohort/asked": float(turnout.asked),
        }
        metrics |= {f"cohort/{name}": float(len(clients)) for name, clients in counts.items()}
        metrics["cohort/skipped"] = float(
            not self.cohort(round_num) if skipped is None else skipped
        )
        if turnout.seconds is not None:
            metrics["cohort/simulated_seconds"] = turnout.seconds
            metrics["cohort/simulated_seconds_total"] = sum(
                earlier.seconds or 0.0 for earlier in self.turnouts[:round_num]
            )
        return metrics

    def to_json(self) -> str:
        """Return the plan as JSON that is the same for the same plan; `from_json` reads it back."""
        body: dict[str, Any] = {
            "strategy": self.strategy,
            "seed": self.seed,
            "cohorts": [list(c) for c in self.cohorts],
        }
        if self.turnouts:
            body["turnouts"] = [asdict(turnout) for turnout in self.turnouts]
        return json.dumps(body, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "CohortPlan":
        """Return the plan that `to_json` wrote. Raises ValueError, KeyError or TypeError on
        anything else.
        """
        body = json.loads(text)
        turnouts = tuple(map(Turnout.from_json, body.get("turnouts", ())))
        return cls(
            str(body["strategy"]),
            int(body["seed"]),
            tuple(tuple(map(str, c)) for c in body["cohorts"]),
            turnouts,
        )


@dataclass(frozen=True)
class RoundReport:
    """What one round did; round 0 is the initial state, with evaluation metrics alone.

    Attributes:
        round_num: 0 for the initial state, then 1..rounds.
        cohort: ids of the clients that were asked.
        failed: ids of those that did not report; the others did.
        metrics: values by `split/metric` key, for example `train/loss` (nats per example) and
            `test/accuracy` (fraction).
        examples: training examples that the reporting clients processed, each epoch counted.
        seconds: wall time of the round without its evaluation.
        weights: the server's weights after the round.
        lost: machines that were lost in it, `host:port: why`; others did their part, and the result
            is what it would have been.
    """

    round_num: int
    cohort: tuple[str, ...]
    failed: tuple[str, ...]
    metrics: Mapping[str, float]
    examples: int
    seconds: float
    weights: Weights = field(repr=False, compare=False)
    lost: tuple[str, ...] = field(default=(), compare=False)

    def all_metrics(self) -> dict[str, float]:
        """Return `metrics` and, from round 1 on, the round's own figures under `round/`."""
        merged = dict(self.metrics)
        if self.round_num:
            merged["round/seconds"] = self.seconds
            merged["round/clients"] = float(len(self.cohort) - len(self.failed))
            merged["round/failed"] = float(len(self.failed))
            merged["round/examples"] = float(self.examples)
            if self.lost:
                merged["round/lost_machines"] = float(len(self.lost))
        return merged


class RoundSink(Protocol):
    """Receives each round's report, in order, once. A sink that fails raises: nothing is
    swallowed.
    """

    def round_done(self, report: RoundReport) -> None:
        """Take the report of one round."""


def weights_sha256(weights: Weights) -> str:
    """Return the SHA-256 (hex) of the weights: of each tensor its name, dtype, shape and
    little-endian bytes, in order.
    """
    digest = hashlib.sha256()
    for name, value in weights.items():
        little = np.asarray(value, dtype=value.dtype.newbyteorder("<"), order="C")
        digest.update(f"{name}:{little.dtype.str}:{little.shape}:".encode())
        digest.update(little.tobytes())
    return digest.hexdigest()
