"""The progress bar of a sweep on Prefect's page."""

from typing import Any

import pytest

from flows import sweep


def test_an_interrupted_child_does_not_move_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[float, str]] = []

    def update(_artifact: Any, progress: float, description: str) -> None:
        shown.append((progress, description))

    monkeypatch.setattr(sweep, "update_progress_artifact", update)
    bar = sweep.SweepArtifacts(None)
    bar.begun("rates", 2, 0)
    bar.trial_ended(0, "interrupted", None)
    bar.trial_ended(0, "finished", 1.0)
    bar.trial_ended(1, "failed", None)
    assert [progress for progress, _ in shown] == [0.0, 0.0, 50.0, 100.0]
    assert [description.split(" trials")[0] for _, description in shown] == [
        "0 of 2",
        "0 of 2",
        "1 of 2",
        "2 of 2",
    ]
