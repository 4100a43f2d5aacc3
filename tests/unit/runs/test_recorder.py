"""What a training leaves on disk: validation chooses the best round, also when the run was interrupted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedpipe.models.weights_io import load_weights
from fedpipe.runs.recorder import Recorder
from fedpipe.types import RoundReport


def report(round_num: int, score: float | None) -> RoundReport:
    metrics = {"test/accuracy": 1 - round_num / 10} | (
        {} if score is None else {"validation/accuracy": score}
    )
    return RoundReport(round_num, (), (), metrics, 0, 0.0, {"w": np.array([round_num], np.float32)})


SCORES = [0.1, 0.4, None, 0.4, float("nan"), 0.6, 0.5, 0.5, 0.6]


def test_the_best_is_the_earliest_of_the_highest_validation(tmp_path: Path) -> None:
    recorder, bests = Recorder(tmp_path), []
    for round_num, score in enumerate(SCORES):
        recorder.round_done(report(round_num, score))
        bests.append(recorder.best_round)
        assert float(load_weights(recorder.best_weights)["w"][0]) == recorder.best_round
    assert bests == [0, 1, 1, 1, 1, 5, 5, 5, 5]
    recorder.finish()
    assert float(load_weights(recorder.final_weights)["w"][0]) == 8


@pytest.mark.parametrize(("patience", "last"), [(1, 3), (2, 3), (3, 4), (None, None)])
def test_training_stops_after_so_many_rounds_without_a_better_one(
    tmp_path: Path, patience: int | None, last: int | None
) -> None:
    # Best at 1; round 2 has no validation: nothing is known there. A validation that is no number, at 4, is none that is better.
    recorder = Recorder(tmp_path, patience)
    stops = []
    for round_num, score in enumerate(SCORES[:8]):
        recorder.round_done(report(round_num, score))
        stops.append(recorder.is_last(report(round_num, score)))
    assert (stops.index(True) if True in stops else None) == last


def test_rounds_that_were_skipped_are_none_without_a_better_one(tmp_path: Path) -> None:
    recorder, stops = Recorder(tmp_path, 2), []
    for round_num, (score, skipped) in enumerate(
        [(0.4, 0.0), (0.3, 0.0), (0.3, 1.0), (0.3, 1.0), (0.2, 0.0)]
    ):
        done = report(round_num, score)
        done = replace(done, metrics={**done.metrics, "cohort/skipped": skipped})
        recorder.round_done(done)
        stops.append(recorder.is_last(done))
    assert stops == [False, False, False, False, True]


def test_a_run_that_goes_on_chooses_and_stops_as_one_without_interruption(tmp_path: Path) -> None:
    first = Recorder(tmp_path, 2)
    for round_num, score in enumerate(SCORES[:7]):
        first.round_done(report(round_num, score))
    again = Recorder(tmp_path, 2)
    for round_num in range(2, 8):  # from the checkpoint of round 2
        again.round_done(report(round_num, SCORES[round_num]))
        assert again.is_last(report(round_num, SCORES[round_num])) == (round_num in (3, 4, 7))
        assert again.best_round == (1 if round_num < 5 else 5)
    assert float(load_weights(again.best_weights)["w"][0]) == 5


def test_without_validation_there_is_no_best(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, 1)
    for round_num in range(4):
        recorder.round_done(report(round_num, None))
        assert not recorder.is_last(report(round_num, None))
    assert recorder.best_round is None
    assert not recorder.best_weights.exists()
