"""What a function of the user's own returns as a TFF process, and what a run may not ask of it."""

from typing import Any

import numpy as np
import pytest
import tensorflow_federated as tff

from fedpipe.algorithms.own_process import OwnProcess
from fedpipe.config import Config
from fedpipe.errors import ConfigError


@pytest.fixture(scope="module")
def process() -> Any:
    @tff.federated_computation
    def initialize() -> Any:
        return tff.federated_value(np.float32(0), tff.SERVER)

    @tff.federated_computation(
        tff.FederatedType(np.float32, tff.SERVER),
        tff.FederatedType(tff.SequenceType(np.float32), tff.CLIENTS),
    )
    def next_fn(state: Any, datasets: Any) -> Any:  # noqa: ARG001 - a process has both
        return state

    return tff.templates.IterativeProcess(initialize, next_fn)


def test_a_process_alone_or_with_its_weights_is_taken(process: Any) -> None:
    assert OwnProcess.of(process) == OwnProcess(process, None)
    assert OwnProcess.of((process, tuple)) == OwnProcess(process, tuple)
    assert OwnProcess.of((1, 2)) is None
    assert OwnProcess.of("process") is None


@pytest.mark.parametrize(
    "settings",
    [
        {
            "privacy": {
                "mechanism": "gaussian",
                "noise_multiplier": 1.0,
                "clip_norm": 0.5,
                "delta": 1e-5,
            },
            "cohort": {"strategy": "uniform"},
        },
        {"runtime": {"remote": ["10.0.0.1:7000"]}},
        {"runtime": {"debug": True}},
        {"client": {"augment": [{"name": "flip"}]}},
    ],
)
def test_settings_that_a_process_cannot_have_are_refused(process: Any, settings: Any) -> None:
    section = next(iter(settings))
    config = Config.model_validate({"algorithm": {"name": "mine:build"}, **settings})
    with pytest.raises(
        ConfigError, match=rf"^{section}\.\S+ is set but algorithm\.name=mine:build"
    ):
        OwnProcess(process).check_settings(config)


def test_groups_which_a_sweep_sets_are_no_error(process: Any) -> None:
    config = Config.model_validate({"algorithm": {"name": "mine:build"}, "runtime": {"groups": 1}})
    OwnProcess(process).check_settings(config)
