"""Rates that fit on paper, and settings that a schedule would ignore."""

from typing import Any

import pytest
from pydantic import ValidationError

from fedpipe.algorithms.schedules import rate_of_round
from fedpipe.config import Config
from fedpipe.config.schema import ClientConfig


@pytest.mark.parametrize(
    ("settings", "rates"),
    [
        ({}, [1, 1, 1, 1]),
        ({"warmup_rounds": 2}, [0.5, 1, 1, 1]),
        ({"schedule": "exponential", "decay_rate": 0.5}, [1, 0.5, 0.25, 0.125]),
        (
            {"schedule": "exponential", "decay_rate": 0.25, "decay_rounds": 2, "warmup_rounds": 1},
            [1, 1, 0.5, 0.25],
        ),
        ({"schedule": "exponential"}, [1, 0.99, 0.9801, 0.970299]),
        (
            {"schedule": "cosine"},
            [1, 0.8535534, 0.5, 0.1464466],
        ),  # (1 + cos(0, 45, 90, 135 degrees)) / 2
        ({"schedule": "cosine", "final_fraction": 0.5, "warmup_rounds": 2}, [0.5, 1, 1, 0.75]),
    ],
)
def test_four_rounds(settings: dict[str, Any], rates: list[float]) -> None:
    side = ClientConfig(learning_rate=1.0, **settings)
    assert [rate_of_round(side, 4, number) for number in (1, 2, 3, 4)] == pytest.approx(rates)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"client": {"decay_rate": 0.5}},
            r"client\.decay_rate=0\.5 is set but client\.schedule=constant ignores it.* choose exponential",
        ),
        (
            {"server": {"final_fraction": 0.1}},
            r"server\.final_fraction=0\.1 is set but server\.schedule=constant .* choose cosine",
        ),
        ({"server": {"warmup_rounds": 15}}, r"server\.warmup_rounds=15 is not below rounds=15"),
    ],
)
def test_what_a_schedule_ignores(settings: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Config.model_validate(settings)
