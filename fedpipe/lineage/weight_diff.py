"""Compares two runs round by round: the first round and tensor that differ, and by how much."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedpipe.errors import ConfigError
from fedpipe.types import Weights

IDENTICAL = "identical"

History = Mapping[int, Mapping[str, Any]]
"""Lines of a run's `weights.jsonl`, which `runs.history` writes, by round."""


@dataclass(frozen=True)
class Difference:
    """The first difference.

    Attributes:
        round_num: the first round whose weights differ; None (as all below) where nothing does.
        tensors: names of the tensors that differ there.
        max_abs: the largest absolute difference of a weight in them; None if neither the weights of
            that round nor later ones are saved.
        at_round: the round that it was measured at, the first saved one from `round_num` on.
        at_tensor: the tensor that it is in.
    """

    round_num: int | None
    tensors: tuple[str, ...] = ()
    max_abs: float | None = None
    at_round: int | None = None
    at_tensor: str | None = None

    def __str__(self) -> str:
        """Return it in words."""
        if self.round_num is None:
            return IDENTICAL
        names = ", ".join(self.tensors) or "all: it was not run"
        text = f"round {self.round_num} is the first to differ, in {names}"
        if self.max_abs is None:
            return f"{text}; by how much is not known: no later round's weights are kept"
        return (
            f"{text}; by {self.max_abs:.3g} at most in {self.at_tensor} after round {self.at_round}"
        )


def read_history(path: Path) -> History:
    """Return the history in a file.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        rounds = (json.loads(line) for line in lines)
        return {int(values["round"]): values for values in rounds}
    except (OSError, ValueError, KeyError) as err:
        raise ConfigError(
            f"{path}: expected one line of JSON per round, found {err}. The commit's code may be "
            "older."
        ) from err


def first_difference(
    recorded: History,
    repeated: History,
    saved_rounds: Sequence[int],
    load_both: Callable[[int], tuple[Weights, Weights]],
) -> Difference:
    """Return the first difference of two runs.

    Args:
        recorded: history of the run that is reproduced.
        repeated: history of the new run.
        saved_rounds: rounds whose weights both runs saved.
        load_both: returns both runs' weights after a saved round.
    """
    for round_num in sorted(recorded):
        old = recorded[round_num]
        new = repeated.get(round_num)
        if new is None:
            tensors: tuple[str, ...] = ()
        elif new["sha256"] == old["sha256"]:
            continue
        else:
            hashes = new["tensors"]
            tensors = tuple(n for n, sha256 in old["tensors"].items() if hashes.get(n) != sha256)
        at_round = min((saved for saved in saved_rounds if saved >= round_num), default=None)
        if at_round is None:
            return Difference(round_num, tensors)
        old_weights, new_weights = load_both(at_round)
        largest = {
            name: _largest(value, new_weights.get(name)) for name, value in old_weights.items()
        }
        at_tensor = max(largest, key=lambda name: largest[name])
        return Difference(round_num, tensors, largest[at_tensor], at_round, at_tensor)
    return Difference(None)


def first_difference_without_noise(recorded: History, repeated: History) -> Difference:
    """Return the first difference of two private runs in anything but noise: in the initial
    weights, and in who failed and how many examples were processed.
    """
    for round_num, old in recorded.items():
        new = repeated.get(round_num)
        keys = ["failed", "examples"]
        if round_num == 0:
            keys.insert(0, "sha256")
        different = tuple(key for key in keys if new is None or new[key] != old[key])
        if different:
            return Difference(round_num, different)
    return Difference(None)


def _largest(old: Any, new: Any) -> float:
    if new is None or new.shape != old.shape:
        return float("inf")
    return float(np.max(np.abs(old.astype(np.float64) - new.astype(np.float64)), initial=0.0))
