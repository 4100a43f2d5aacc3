"""What a run records of settings that were not set: the value that it used."""

from typing import Any

import pytest

from fedpipe.config import Config, flatten
from fedpipe.config.defaults import used_settings
from fedpipe.config.schema import expand_options

CASES = [
    ({"algorithm": {"name": "fedprox"}}, {"algorithm.mu": 0.01}),
    ({"algorithm": {"name": "fedprox", "mu": 0.0}}, {"algorithm.mu": 0.0}),
    (
        {"algorithm": {"name": "fedavg"}},
        {
            "algorithm.mu": None,
            "server.optimizer": "sgd",
            "server.momentum": None,
            "server.epsilon": None,
        },
    ),
    ({"algorithm": {"name": "fedavgm"}}, {"server.optimizer": "momentum", "server.momentum": 0.9}),
    (
        {"algorithm": {"name": "fedadam"}},
        {
            "server.optimizer": "adam",
            "server.beta_1": 0.9,
            "server.beta_2": 0.99,
            "server.epsilon": 1e-3,
            "server.momentum": None,
        },
    ),
    (
        {"algorithm": {"name": "fedyogi"}, "server": {"beta_2": 0.9}},
        {"server.optimizer": "yogi", "server.beta_2": 0.9},
    ),
    (
        {"algorithm": {"name": "fedadagrad"}},
        {"server.optimizer": "adagrad", "server.epsilon": 1e-3, "server.beta_1": None},
    ),
    (
        {"server": {"optimizer": "adam"}},
        {"server.beta_1": 0.9, "server.beta_2": 0.999, "server.epsilon": 1e-7},
    ),
    ({"client": {"optimizer": "momentum"}}, {"client.momentum": 0.9}),
    (
        {"client": {"schedule": "exponential"}},
        {"client.decay_rate": 0.99, "client.decay_rounds": 1, "client.final_fraction": None},
    ),
    (
        {"server": {"schedule": "cosine"}},
        {"server.final_fraction": 0.0, "client.final_fraction": None},
    ),
    (
        {"cohort": {"latency_median_seconds": 3.0}},
        {"cohort.latency_sigma": 0.5, "cohort.available_fraction": None},
    ),
    ({"cohort": {"day_rounds": 24, "strategy": "uniform"}}, {"cohort.available_fraction": 0.5}),
]


@pytest.mark.parametrize(("settings", "used"), CASES)
def test_an_unset_setting_is_recorded_as_what_the_run_uses(
    settings: dict[str, Any], used: dict[str, Any]
) -> None:
    found = used_settings(Config.model_validate(settings))
    assert {key: found[key] for key in used} == used
    assert list(found) == list(expand_options(flatten(Config())))
