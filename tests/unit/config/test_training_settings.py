"""Settings of client work and server that would be ignored are refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from fedpipe.config import Config


@pytest.mark.parametrize("side", ["client", "server"])
def test_momentum_without_the_optimizer_that_reads_it(side: str) -> None:
    with pytest.raises(ValidationError, match=rf"{side}\.momentum=0\.5 is set but {side}\.optimizer=sgd ignores it"):
        Config.model_validate({side: {"momentum": 0.5}})


@pytest.mark.parametrize(
    ("group", "name", "value"),
    [
        ("client", "shuffle", True),
        ("client", "max_steps", 3),
        ("client", "optimizer", "adam"),
        ("client", "weighting", "examples"),
        ("server", "optimizer", "adam"),
        ("server", "learning_rate", 0.5),
        ("runtime", "groups", 2),
        ("runtime", "examples", "by_value"),
    ],
)
def test_what_the_reference_ignores(group: str, name: str, value: Any) -> None:
    Config.model_validate({group: {name: value}})
    with pytest.raises(ValidationError, match=rf"{group}\.{name}={value} is set but algorithm\.name=fedavg_reference ignores it"):
        Config.model_validate({"algorithm": {"name": "fedavg_reference"}, group: {name: value}})
