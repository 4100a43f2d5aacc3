"""Compares what two runs kept of each round's weights: the first round and tensor that differ, and
by how much.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedpipe.types import Weights

IDENTICAL = "identical"


@dataclass(frozen=True)
class Difference:
    """The first difference.

    Attributes:
        round_num: the first round whose weights differ; None of all the rest where nothing does.
        tensors: names of the tensors that differ there.
        max_abs: the largest absolute difference of a weight in them, None where neither that
            round's weights nor later ones are kept.
        at_round: the round that it was measured at, the first kept one from `round_num` on.
        at_tensor: the tensor that it is in.
    """

    round_num: int | None
    tensors: tuple[str, ...] = ()
    max_abs: float | None = None
    at_round: int | None = None
    at_tensor: str | None = None

    def __str__(self) -> str:
        """Return it as a sentence's part."""
        if self.round_num is None:
            return IDENTICAL
        text = (
            f"round {self.round_num} is the first to differ, in "
            f"{', '.join(self.tensors) or 'all: it was not run'}"
        )
        if self.max_abs is None:
            return f"{text}; by how much is not known: no later round's weights are kept"
        return (
            f"{text}; by {self.max_abs:.3g} at most in {self.at_tensor} after round {self.at_round}"
        )


def first_difference(
    recorded: Sequence[Mapping[str, Any]],
    found: Sequence[Mapping[str, Any]],
    kept: Sequence[int],
    weights: Callable[[int], tuple[Weights, Weights]],
) -> Difference:
    """Return the first difference of two histories, whose lines `runs.history` writes.

    Args:
        recorded: a line a round of the run that is reproduced.
        found: a line a round of the new run.
        kept: rounds whose weights both runs kept.
        weights: gives both runs' weights after a kept round.
    """
    new = {int(line["round"]): line for line in found}
    for line in sorted(recorded, key=lambda line: int(line["round"])):
        number = int(line["round"])
        other = new.get(number)
        if other is not None and other["sha256"] == line["sha256"]:
            continue
        here = other["tensors"] if other is not None else {}
        tensors = (
            tuple(name for name, sha256 in line["tensors"].items() if here.get(name) != sha256)
            if other is not None
            else ()
        )
        at = next((one for one in sorted(kept) if one >= number), None)
        if at is None:
            return Difference(number, tensors)
        before, after = weights(at)
        largest = {name: _largest(value, after.get(name)) for name, value in before.items()}
        worst = max(largest, key=lambda name: largest[name])
        return Difference(number, tensors, largest[worst], at, worst)
    return Difference(None)


def _largest(one: Any, other: Any) -> float:
    if other is None or other.shape != one.shape:
        return float("inf")
    return float(np.max(np.abs(one.astype(np.float64) - other.astype(np.float64)), initial=0.0))
