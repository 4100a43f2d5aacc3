from pathlib import Path

import pytest

from fedpipe.config import load_config
from fedpipe.config.schema import flatten
from fedpipe.errors import ConfigError

PARAMS = Path(__file__).parents[3] / "params.yaml"


def steps(text: str, *more: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(PARAMS, [f"data.preprocess={text}", *more])
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[{name: standardise}]", "found 'standardise'. Did you mean standardize?"),
        ("[standardize]", "expected steps such as {name: standardize}, found 'standardize'"),
        ("[{name: clip, low: 2, high: 1}]", "expected low below high, found 2 and 1"),
        ("[{name: standardize, mean: [1]}]", "expected mean and std, found mean alone"),
        ("[{name: min_max, min: [1], max: [1]}]", "expected min below max"),
        ("[{name: robust, per: client, median: [1], range: [1]}]", "per=client computes"),
        ("[{name: standardize, mean: [1, 2], std: [1]}]", "as many numbers in mean and std"),
        ("[{name: missing, value: 3}]", "by=mean ignores value"),
        ("[{name: missing, by: constant}]", "by=constant needs value"),
        ("[{name: dates, columns: [a], since: yesterday}]", "expected since as YYYY-MM-DD"),
        ("[{name: clip, low: 0}]", "high"),
        ("[{name: choose, column: [a]}]", "column"),
    ],
)
def test_wrong_steps_are_refused_in_one_line(text: str, message: str) -> None:
    assert message in steps(text)


def test_steps_are_recorded_as_they_were_written() -> None:
    text = "[{name: missing, by: constant, value: 0}, {name: own.steps:make, options: {a: 1}}]"
    config = load_config(PARAMS, [f"data.preprocess={text}"])
    written = [
        {"name": "missing", "by": "constant", "value": 0},
        {"name": "own.steps:make", "options": {"a": 1}},
    ]
    assert flatten(config)["data.preprocess"] == written
    assert config.model_dump()["data"]["preprocess"] == written
    assert type(config).model_validate(config.model_dump()) == config


PRIVATE = (
    "privacy.mechanism=gaussian",
    "privacy.clip_norm=0.1",
    "privacy.noise_multiplier=1.0",
    "privacy.delta=1e-3",
    "cohort.strategy=poisson",
)


def test_a_private_run_takes_constants_and_scales_of_each_client_alone() -> None:
    message = steps("[{name: standardize}]", *PRIVATE)
    assert "step standardize are computed from all clients' examples" in message
    for text in (
        "[{name: standardize, mean: [1], std: [2]}]",
        "[{name: robust, per: client}]",
        "[{name: one_hot, categories: {city: [Bern]}}]",
        "[{name: missing, by: drop}]",
    ):
        load_config(PARAMS, [f"data.preprocess={text}", *PRIVATE])
