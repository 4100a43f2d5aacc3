"""The progress bar and the table of rounds on Prefect's page of a training."""

from typing import Any
from uuid import uuid4

import pytest

from fedpipe.types import RoundReport
from flows import artifacts


def report(number: int) -> RoundReport:
    return RoundReport(number, (), (), {"test/loss": 1.0}, 0, 0.01, {})


@pytest.mark.parametrize(
    ("seconds_per_round", "moves"), [(0.01, [3]), (0.3, [2, 3]), (5.0, [1, 2, 3])]
)
def test_fast_rounds_move_the_bar_together_and_the_last_one_always(
    monkeypatch: pytest.MonkeyPatch, seconds_per_round: float, moves: list[int]
) -> None:
    shown: list[str] = []
    tables: list[list[dict[str, Any]]] = []
    clock = iter(k * seconds_per_round for k in range(100))
    now = [0.0]

    def update(_artifact: Any, _progress: float, description: str) -> None:
        shown.append(description)

    monkeypatch.setattr(artifacts, "create_progress_artifact", lambda **_: uuid4())
    monkeypatch.setattr(artifacts, "update_progress_artifact", update)
    monkeypatch.setattr(
        artifacts, "create_table_artifact", lambda **options: tables.append(options["table"])
    )
    monkeypatch.setattr(artifacts.time, "monotonic", lambda: now[0])
    with artifacts.RoundArtifacts(3) as bar:
        for number in range(4):
            now[0] = next(clock)
            bar.round_done(report(number))
    assert shown == [f"{number} of 3 rounds" for number in moves]
    assert [row["round"] for row in tables[0]] == [0, 1, 2, 3]
