"""Settings of the user's own in params files, overrides and sweeps."""

from pathlib import Path

import pytest

from fedpipe.config import Config, flatten_result, load_config
from fedpipe.config.defaults import used_settings
from fedpipe.config.sweep import SweepConfig
from fedpipe.errors import ConfigError

OWN = "model:\n  name: own.model:build\n  options: {width: 8, deep: true}\n"


@pytest.fixture
def params(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(OWN)
    return path


def test_an_override_sets_one_option(params: Path) -> None:
    config = load_config(
        params, ["model.options.width=64", "algorithm.name=a:b", "algorithm.options.c=x"]
    )
    assert config.model.options == {"width": 64, "deep": True}
    assert config.algorithm.options == {"c": "x"}


def test_an_override_of_all_options_takes_their_place(params: Path) -> None:
    assert load_config(params, ["model.options={width: 1}"]).model.options == {"width": 1}


def test_options_are_recorded_by_name_and_are_of_the_identity(params: Path) -> None:
    config = load_config(params)
    used = used_settings(config)
    assert (used["model.options.width"], used["model.options.deep"]) == (8, True)
    assert "model.options" not in used
    other = load_config(params, ["model.options.width=9"])
    assert flatten_result(config) != flatten_result(other)
    assert "model.options" not in flatten_result(Config())


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["model.options={width: 1}", "model.options.width=2"], "both set the same options"),
        (["model.options.width=2", "model.options={width: 1}"], "both set the same options"),
        (["model.options.width=2", "model.options.width=3"], "the same setting twice"),
        (["model.options.1=2"], "unknown key"),
        (["model.name=cnn", "model.options.width=2"], "model.name=cnn ignores it"),
        (["model.name=cnn", "model.batch_norm=frozen"], "model.name=cnn ignores it"),
        (["algorithm.options.a=2"], "algorithm.name=fedavg ignores it"),
        (["data.options.a=2"], "data.source=mnist5k ignores it"),
        (["task.options.a=2"], "neither task.loss nor task.metrics"),
    ],
)
def test_options_without_a_reader_are_refused(
    params: Path, overrides: list[str], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config(params, overrides)


def test_another_model_drops_the_options_of_the_file(params: Path) -> None:
    assert load_config(params, ["model.name=cnn"]).model.options == {}


def test_a_sweep_searches_options() -> None:
    space = {
        "model.options.width": {"choices": [8, 16]},
        "model.options.rate": {"min": 0.1, "max": 1},
    }
    sweep = SweepConfig.model_validate({"name": "s", "trials": 2, "space": space}, strict=False)
    assert set(sweep.space) == set(space)
