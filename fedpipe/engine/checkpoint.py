"""Checkpoints: all that is carried from round to round, on disk, whole or not at all.

A file is safetensors (the leaves of the server state by path; no pickle) with one JSON in its
metadata: the round, its report and what the run is (settings, plan, data). Its name ends in the
SHA-256 of its bytes, so a damaged file is known by its name. Which files are kept is a policy apart
from writing them: the first, the best and the last few.

Files are written in a background thread, so that a small round does not wait for the disk; a save
that failed stops the run at the next one.
"""

import hashlib
import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, unquote

import numpy as np
import numpy.typing as npt

from fedpipe.engine.early_stopping import BestRound
from fedpipe.errors import CheckpointError
from fedpipe.system.atomic_files import write_atomic
from fedpipe.system.background_writer import BackgroundWriter
from fedpipe.types import PerClient, RoundReport, best_by

SCHEMA = "checkpoint-1"
_KEY = "fedpipe"
_MAKING = ".making-"
_NAME = re.compile(r"round_(\d{6,})_([0-9a-f]{64})\.safetensors")

logger = logging.getLogger("fedpipe.engine")

Leaves = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Checkpoint:
    """The state after a round.

    Attributes:
        round_num: the round.
        leaves: of the server state, by path.
        report: what the round reported, without cohort and weights: the plan and the state have
            these; and `best`, score and round.
    """

    round_num: int
    leaves: Leaves
    report: Mapping[str, Any]


class Checkpoints:
    """The checkpoints of one run, in a folder of their own."""

    def __init__(self, folder: Path, identity: Mapping[str, str], every: int, keep: int) -> None:
        """Name the folder; nothing is read or written yet.

        Args:
            folder: made with the first save.
            identity: what the run is, such as digests of its settings, its plan and its data; a
                checkpoint of another is refused.
            every: rounds between checkpoints, at least 1; round 0 and the last are always saved.
            keep: how many of the last to keep, at least 1, besides the first and the best.
        """
        self._folder = folder
        self._identity = dict(identity)
        self._every = every
        self._keep = keep
        self._writer = BackgroundWriter("fedpipe-checkpoint")
        self._best = BestRound()

    def save(self, state: Any, report: RoundReport, last: bool) -> None:
        """Have the state after a round written, if it is its turn; returns before it is on the
        disk.

        Raises:
            CheckpointError: this or the save before it failed.
        """
        if report.round_num % self._every and not last:
            return
        self.flush()
        leaves = flatten(state)  # here: the state may be the caller's to change once this returns
        self._best.add(report.round_num, report.metrics)
        best = self._best
        best_values = (best.score, best.round_num, best.score_name)
        kept = {
            "failed": list(report.failed),
            "lost": list(report.lost),
            "metrics": dict(report.metrics),
            "examples": report.examples,
            "seconds": report.seconds,
            "best": None if best.round_num is None else best_values,
        }
        self._writer.submit(self._write, report.round_num, leaves, kept)
        if last:
            self.flush()

    def __enter__(self) -> Self:
        """Return the checkpoints themselves."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait for the last save. Where the block failed its own error goes on, and that of the
        save is a warning.
        """
        try:
            self.flush()
        except CheckpointError as err:
            if error is None:
                raise
            logger.warning("%s", err)

    def flush(self) -> None:
        """Wait until what was to be saved is on the disk. Raises CheckpointError if it is not."""
        self._writer.flush()

    def latest(self) -> Checkpoint | None:
        """Return the newest checkpoint that is sound, None if there is none; damaged ones are
        skipped with a warning.

        Raises:
            CheckpointError: it belongs to other settings, another plan or other data.
        """
        for path in self._folder.glob(f"{_MAKING}*"):  # a kill left it
            path.unlink(missing_ok=True)
        for _, path in sorted(self._files(), reverse=True):
            try:
                found, identity = _read(path)
            except (OSError, ValueError, KeyError, TypeError) as err:
                logger.warning(
                    "%s: a damaged checkpoint is skipped: %s", path, " ".join(str(err).split())
                )
                continue
            different = sorted(
                key for key in self._identity if identity.get(key) != self._identity[key]
            )
            if different:
                changes = ", ".join(
                    f"{key} {identity.get(key)} then, {self._identity[key]} now"
                    for key in different
                )
                raise CheckpointError(
                    f"{path.parent}: expected checkpoints of this run, found others: {changes}. "
                    "Start a new run."
                )
            best = found.report["best"]
            if best:
                score, round_num, *name = best
                # Earlier versions did not write the name.
                score_name = name[0] if name else best_by(found.report["metrics"])
                self._best = BestRound(int(round_num), float(score), score_name)
            return found
        return None

    def _files(self) -> list[tuple[int, Path]]:
        names = os.listdir(self._folder) if self._folder.is_dir() else []
        return [
            (int(match[1]), self._folder / match[0])
            for name in names
            if (match := _NAME.fullmatch(name))
        ]

    def _write(self, round_num: int, leaves: Leaves, report: Mapping[str, Any]) -> None:
        from safetensors.numpy import save

        about = {"schema": SCHEMA, "round": round_num, "identity": self._identity, "report": report}
        body = save(
            {name: np.asarray(value, order="C") for name, value in leaves.items()},
            {_KEY: json.dumps(about)},
        )
        path = (
            self._folder / f"round_{round_num:06d}_{hashlib.sha256(body).hexdigest()}.safetensors"
        )
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            old = self._files()
            write_atomic(path, body, prefix=_MAKING, sync_folder=True)
            surplus = self._surplus({round_num, *(number for number, _ in old)})
            for number, earlier in old:
                # The same round again, with other figures such as its seconds: the earlier file was
                # damaged.
                if number in surplus or (number == round_num and earlier != path):
                    earlier.unlink(missing_ok=True)
        except OSError as err:
            raise CheckpointError(
                f"{self._folder}: expected to write the checkpoint of round {round_num}, found "
                f"{err}. Make room, then `fedpipe resume`."
            ) from err

    def _surplus(self, rounds: set[int]) -> set[int]:
        return rounds - {min(rounds), *sorted(rounds)[-self._keep :], self._best.round_num}


def flatten(state: Any, path: str = "") -> dict[str, npt.NDArray[Any]]:
    """Return the leaves of a state of mappings, sequences and arrays, by path.

    >>> flatten({"weights": [np.float32(1)], "aggregator": ()})
    {'weights/0': array(1., dtype=float32)}
    """
    if isinstance(state, PerClient):
        items: Any = ((quote(client_id, safe=""), kept) for client_id, kept in state.items())
    elif isinstance(state, Mapping):
        items = state.items()
    elif isinstance(state, list | tuple):
        items = enumerate(state)
    else:
        return {path: np.array(state)}
    return {
        key: leaf
        for name, inner in items
        for key, leaf in flatten(inner, f"{path}/{name}" if path else str(name)).items()
    }


def restore(template: Any, leaves: Leaves, path: str = "") -> Any:
    """Return the state with the containers of `template` and the leaves that `flatten` gave.

    Raises:
        CheckpointError: a leaf is missing, or has another dtype or shape than the template's.
    """
    if isinstance(template, PerClient):
        names = sorted(
            {name[len(path) + 1 :].split("/")[0] for name in leaves if name.startswith(f"{path}/")}
        )
        return PerClient(
            template.first,
            {unquote(name): restore(template.first, leaves, f"{path}/{name}") for name in names},
        )
    if isinstance(template, Mapping):
        return type(template)(
            (name, restore(inner, leaves, f"{path}/{name}" if path else str(name)))
            for name, inner in template.items()
        )  # type: ignore[call-arg]
    if isinstance(template, list | tuple):
        items = [
            restore(inner, leaves, f"{path}/{i}" if path else str(i))
            for i, inner in enumerate(template)
        ]
        # a named tuple takes them one by one
        if hasattr(template, "_fields"):
            return type(template)(*items)
        return type(template)(items)
    wanted = np.asarray(template)
    found = leaves.get(path)
    # What an aggregator keeps, such as the levels of a tree of noise, may grow from round to round.
    cut = 1 if path.startswith("aggregator/") else 0
    if (
        found is None
        or found.dtype != wanted.dtype
        or found.ndim != wanted.ndim
        or found.shape[cut:] != wanted.shape[cut:]
    ):
        have = "nothing" if found is None else f"{found.dtype}{list(found.shape)}"
        raise CheckpointError(
            f"checkpoint: expected {wanted.dtype}{list(wanted.shape)} at {path!r}, found {have}. "
            "Start a new run."
        )
    return found


def _read(path: Path) -> tuple[Checkpoint, Mapping[str, str]]:
    from safetensors.numpy import load

    body = path.read_bytes()
    match = _NAME.fullmatch(path.name)
    if match is None or hashlib.sha256(body).hexdigest() != match[2]:
        raise ValueError("its bytes do not have the SHA-256 of its name")
    header = json.loads(body[8 : 8 + int.from_bytes(body[:8], "little")])
    about = json.loads(header["__metadata__"][_KEY])
    if about["schema"] != SCHEMA:
        raise ValueError(f"expected schema {SCHEMA}, found {about['schema']}")
    return Checkpoint(int(about["round"]), load(body), about["report"]), about["identity"]
