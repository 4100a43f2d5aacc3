"""Settings as Python values become a params file and overrides, with their own errors."""

from pathlib import Path

import numpy as np
import pytest

from fedpipe.api.settings import given_settings, nested, override_texts
from fedpipe.config import load_config
from fedpipe.errors import ConfigError
from fedpipe.project.paths import Project

PROJECT = Project(Path(__file__).parents[3])


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (0.05, "client.learning_rate"),
        (1e-05, "client.learning_rate"),
        (np.float64(0.25), "client.learning_rate"),
        (np.int64(7), "rounds"),
        ("1e5", "tracking.experiment"),
        ("true", "tracking.experiment"),
        ("a: b", "tracking.experiment"),
        ("résumé, 'quoted' \"twice\"", "tracking.experiment"),
        (True, "client.shuffle"),
        (None, "client.max_steps"),
        (",", "data.separator"),
        ([28, 28], "data.feature_shape"),
    ],
)
def test_a_value_is_the_same_after_it_was_a_text(value: object, key: str) -> None:
    extra = ["data.source=csv", "data.path=x.csv"] if key.startswith("data.") else []
    config = load_config(PROJECT.params, [*override_texts({key: value}), *extra])
    section, _, name = key.rpartition(".")
    actual = getattr(getattr(config, section) if section else config, name)
    expected = value.item() if isinstance(value, np.generic) else value
    assert actual == expected
    assert type(actual) is type(expected)


def test_params_is_the_projects_file_a_path_or_a_mapping(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("rounds: 3\n")
    with given_settings(PROJECT, None, ()) as (params, texts):
        assert (params, texts) == (PROJECT.params, [])
    with given_settings(PROJECT, str(path), ["rounds=4"]) as (params, texts):
        assert load_config(params, texts).rounds == 4
    settings = {"rounds": 6, "client": {"epochs": 2}, "client.learning_rate": 0.5}
    with given_settings(PROJECT, settings, {"cohort": {"size": 5}}) as (params, texts):
        config = load_config(params, texts)
        assert (config.rounds, config.client.epochs, config.client.learning_rate) == (6, 2, 0.5)
        assert config.cohort.size == 5
    assert not params.exists()


@pytest.mark.parametrize(
    ("params", "overrides", "words"),
    [
        ({"client.learning_rat": 1}, (), "did you mean 'client.learning_rate'"),
        ({"rounds": 0}, (), "params: 'rounds': input should be greater"),
        ({"client": 3}, (), "'client': expected a mapping"),
        ({"client": {"epochs": 1}, "client.epochs": 2}, (), "'client.epochs' stands twice"),
        ({"rounds": "ten"}, (), "params: 'rounds': input should be a valid integer"),
        ({}, "rounds=3", "expected a mapping or a list of KEY=VALUE"),
        ({}, {"model.name": print}, "Write `module:function` as text"),
        ({}, {"rouns": 3}, "did you mean 'rounds'"),
        ({}, {"rounds": 0}, "-S rounds=0: 'rounds'"),
        ({}, ["rounds"], "expected KEY=VALUE"),
    ],
)
def test_bad_settings_are_one_error_before_anything_runs(
    params: dict[str, object], overrides: object, words: str
) -> None:
    with (
        pytest.raises(ConfigError, match=words) as raised,
        given_settings(PROJECT, params, overrides),  # type: ignore[arg-type]
    ):
        pass
    assert "\n" not in str(raised.value)


def test_a_setting_of_the_users_own_keeps_its_mapping() -> None:
    options = {"width": 8, "names": ["a", "b"]}
    assert nested({"model": {"options": options}}) == {"model": {"options": options}}
    texts = override_texts({"model.options": options})
    assert texts == ['model.options={"width": 8, "names": ["a", "b"]}']
