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

import numpy as np

from fedpipe.engine.early_stopping import BestRound
from fedpipe.engine.server_state import Leaves, flatten
from fedpipe.errors import CheckpointError
from fedpipe.system.atomic_files import write_atomic
from fedpipe.system.background_writer import BackgroundWriter
from fedpipe.tasks.score import ACCURACY, Score
from fedpipe.types import RoundReport

SCHEMA = "checkpoint-1"
_KEY = "fedpipe"
_MAKING = ".making-"
_NAME = re.compile(r"round_(\d{6,})_([0-9a-f]{64})\.safetensors")

logger = logging.getLogger("fedpipe.engine")


@dataclass(frozen=True)
class Checkpoint:
    """The state after a round.

    Attributes:
        leaves: of the server state, by path.
        report: of the round, without cohort and weights: the plan and the state have these.
        best: of the rounds that were saved up to this one the highest score, its round, and the
            name of the score; None before a round has one.
    """

    leaves: Leaves
    report: RoundReport
    best: tuple[float, int, str | None] | None

    @property
    def round_num(self) -> int:
        """Return the round."""
        return self.report.round_num


class Checkpoints:
    """The checkpoints of one run, in a folder of their own."""

    def __init__(
        self,
        folder: Path,
        identity: Mapping[str, str],
        every: int,
        keep: int,
        score: Score = ACCURACY,
    ) -> None:
        """Name the folder; nothing is read or written yet.

        Args:
            folder: made with the first save.
            identity: what the run is, such as digests of its settings, its plan and its data; a
                checkpoint of another is refused.
            every: rounds between checkpoints, at least 1; round 0 and the last are always saved.
            keep: how many of the last to keep, at least 1, besides the first and the best.
            score: the metric that chooses the best.
        """
        self._folder = folder
        self._identity = dict(identity)
        self._every = every
        self._keep = keep
        self._writer = BackgroundWriter("fedpipe-checkpoint")
        self._score = score
        self._best = BestRound(by=score)

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
        best_values = (
            None if best.round_num is None else (best.score, best.round_num, best.score_name)
        )
        self._writer.submit(self._write, Checkpoint(leaves, report, best_values))
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
        """Wait for the last save. Where the block failed its own error is raised, and that of the
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
                checkpoint, identity = _read(path)
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
            if checkpoint.best:
                score, round_num, score_name = checkpoint.best
                self._best = BestRound(round_num, score, score_name, self._score)
            return checkpoint
        return None

    def _files(self) -> list[tuple[int, Path]]:
        names = os.listdir(self._folder) if self._folder.is_dir() else []
        return [
            (int(match[1]), self._folder / match[0])
            for name in names
            if (match := _NAME.fullmatch(name))
        ]

    def _write(self, checkpoint: Checkpoint) -> None:
        from safetensors.numpy import save

        round_num = checkpoint.round_num
        report = checkpoint.report
        about = {
            "schema": SCHEMA,
            "round": round_num,
            "identity": self._identity,
            "report": {
                "failed": list(report.failed),
                "lost": list(report.lost),
                "metrics": dict(report.metrics),
                "examples": report.examples,
                "seconds": report.seconds,
                "best": checkpoint.best,
            },
        }
        body = save(
            {name: np.asarray(value, order="C") for name, value in checkpoint.leaves.items()},
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
        """Return the rounds whose checkpoints are removed."""
        return rounds - {min(rounds), *sorted(rounds)[-self._keep :], self._best.round_num}


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
    saved = about["report"]
    report = RoundReport(
        int(about["round"]),
        (),
        tuple(saved["failed"]),
        saved["metrics"],
        saved["examples"],
        saved["seconds"],
        {},
        tuple(saved.get("lost", ())),
    )
    best = None
    if saved["best"]:
        score, round_num, name = (*saved["best"], None)[:3]
        # Earlier versions did not write the name.
        best = float(score), int(round_num), name
    return Checkpoint(load(body), report, best), about["identity"]
