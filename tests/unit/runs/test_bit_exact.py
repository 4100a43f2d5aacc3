"""The tag `fedpipe.bit_exact`: what the last bits depend on, as `tests/integration/algorithms/test_bits.py` and trials found it."""

from typing import Any

import pytest

from fedpipe.config import Config
from fedpipe.runs.bit_exact import bit_exact

CASES: list[tuple[dict[str, Any], str, str]] = [
    ({"runtime": {"groups": 2}}, "2", "yes"),
    ({"aggregator": {"name": "median"}}, "none", "yes"),
    ({"algorithm": {"name": "fedavg_reference"}}, "none", "yes"),
    ({}, "2", "yes, with as many cores (runtime.groups is not set and was 2;"),
    ({"runtime": {"workers": 2, "groups": 2}}, "2", "yes, with runtime.workers=2 ("),
    (
        {"runtime": {"workers": 2}},
        "2",
        "yes, with as many cores (runtime.groups is not set and was 2;",
    ),
    ({"runtime": {"debug": True}}, "none", "yes, with as many cores (runtime.debug computes"),
    ({"algorithm": {"name": "mine:build"}}, "none", "not known: algorithm.name=mine:build"),
]


@pytest.mark.parametrize(("settings", "groups", "said"), CASES)
def test_what_the_last_bits_depend_on_is_said(
    settings: dict[str, Any], groups: str, said: str
) -> None:
    found = bit_exact(Config.model_validate(settings), {"algorithm.groups": groups})
    assert found == said if said == "yes" else found.startswith(said)


def test_a_process_says_what_it_draws() -> None:
    config = Config.model_validate({"algorithm": {"name": "mine:build"}})
    assert bit_exact(config, {"algorithm.groups": "none", "algorithm.draws": "none"}) == "yes"
    assert bit_exact(config, {"algorithm.draws": "RandomUniform"}) == (
        "no: the TFF process draws with RandomUniform, which the run's seed does not determine"
    )
