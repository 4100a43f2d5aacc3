"""The weights that a run kept: those of its first, best and last round, and every `save_every`
rounds.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedpipe.errors import ModelError
from fedpipe.models.weights_io import load_weights
from fedpipe.runs.files import RunFiles
from fedpipe.types import Weights

_FOLDER = "weights"
_FILES = {"final": "last.safetensors", "best": "best.safetensors"}


class KeptWeights:
    """The files of weights of one run."""

    def __init__(self, label: str, files: RunFiles) -> None:
        """Read which rounds are kept.

        Args:
            label: of the run, for errors.
            files: of the run.

        Raises:
            ModelError: the run kept none.
        """
        self._label = label
        self._files = files
        index = files.find(f"{_FOLDER}/index.json")
        if index is None:
            raise ModelError(
                f"{label}: expected its weights among its files, found none: it did not start "
                "its first round, or its files were removed."
            )
        entries: Mapping[str, Any] = json.loads(index.read_text(encoding="utf-8"))["files"]
        self._rounds = {name: int(entry["round"]) for name, entry in entries.items()}

    @property
    def rounds(self) -> list[int]:
        """Return the rounds whose weights are kept, rising."""
        return sorted(set(self._rounds.values()))

    def round_of(self, which: str | int) -> int:
        """Return the round of `final`, `best`, `initial` or a round's own number.

        Raises:
            ModelError: its weights are not kept; the message says which are.
        """
        return self._rounds[self._name(which)]

    def load(self, which: str | int) -> Weights:
        """Return weights: of `final`, `best`, `initial`, or of a round by its number; float32 by
        tensor name.

        Raises:
            ModelError: they are not kept, or their file is damaged.
        """
        name = self._name(which)
        path: Path | None = self._files.find(f"{_FOLDER}/{name}")
        if path is None:
            raise ModelError(f"{self._label}: expected its {_FOLDER}/{name}, found none.")
        return load_weights(path)

    def _name(self, which: str | int) -> str:
        if which in _FILES:
            name = _FILES[str(which)]
            if name in self._rounds:
                return name
        number = 0 if which == "initial" else which
        by_round = {round_num: name for name, round_num in self._rounds.items()}
        if isinstance(number, int) and not isinstance(number, bool) and number in by_round:
            return by_round[number]
        kept = ", ".join(map(str, self.rounds))
        raise ModelError(
            f"{self._label}: weights({which!r}): expected 'final', 'best', 'initial' or a round "
            f"whose weights are kept, which are {kept}. `tracking.save_every=N` keeps every Nth "
            "round's."
        )
