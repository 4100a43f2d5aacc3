"""The table that `fedpipe sweep` prints."""

import re
from typing import Any

import pytest

from fedpipe.cli.sweep import show_sweep


def trial(number: int, value: float | None) -> dict[str, Any]:
    state = "failed" if value is None else "finished"
    return {"number": number, "state": state, "value": value, "params": {"rounds": 70 + number}}


@pytest.mark.parametrize(
    ("direction", "order"), [("maximize", [1, 2, 0, 3]), ("minimize", [0, 2, 1, 3])]
)
def test_the_best_comes_first_and_what_failed_last(
    direction: str, order: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    summary = {
        "name": "rates",
        "metric": "validation/loss",
        "direction": direction,
        "keys": ["rounds"],
        "children": [trial(0, 0.1), trial(1, 0.9), trial(2, 0.5), trial(3, None)],
        "preset": "params/sweep_rates.yaml",
        "url": "http://127.0.0.1:5000",
    }
    show_sweep(summary)
    printed = "".join(capsys.readouterr())
    assert [int(number) for number in re.findall(r"\b7([0-3])\b", printed)] == order
