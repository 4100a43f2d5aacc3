"""What a sweep's file may say, and what is refused before anything is trained."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from fedpipe.config import load_config
from fedpipe.config.schema import Config
from fedpipe.config.sweep import load_sweep
from fedpipe.config.sweep_children import check_space, child_config
from fedpipe.config.sweep_space import Dimension, grid_values
from fedpipe.errors import ConfigError

ROOT = Path(__file__).parents[3]
SPACE = {"client.learning_rate": {"min": 0.01, "max": 1.0, "log": True}}
BASE = Config.model_validate({"data": {"validation_fraction": 0.2}})


def written(folder: Path, **values: Any) -> Path:
    path = folder / "rates.yaml"
    path.write_text(yaml.safe_dump({"trials": 4, "space": SPACE} | values))
    return path


def test_the_sweep_that_ships_is_valid() -> None:
    sweep = load_sweep(ROOT / "sweep.yaml")
    assert (sweep.name, sweep.children, sweep.better) == ("digits", 8, "maximize")
    check_space(sweep, load_config(ROOT / sweep.params, sweep.overrides), "sweep.yaml")


def test_a_grid_knows_its_children(tmp_path: Path) -> None:
    space = {
        "client.learning_rate": {"min": 0.001, "max": 1, "log": True, "points": 4},
        "client.epochs": {"min": 1, "max": 3},
        "client.shuffle": {"choices": [True, False]},
    }
    sweep = load_sweep(written(tmp_path, search="grid", trials=None, space=space))
    assert sweep.children == 4 * 3 * 2
    assert grid_values("client.learning_rate", sweep.space["client.learning_rate"]) == [0.001, 0.01, 0.1, 1.0]
    # Whole numbers between 1 and 100 by ratio: 1, 4.64, 21.5, 100.
    assert grid_values("client.batch_size", Dimension(min=1, max=100, log=True, points=4)) == [1, 5, 22, 100]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"metric": "test/accuracy"}, "found 'test/accuracy'. Test data never choose anything."),
        ({"metric": "train/loss"}, "metric: expected one of validation/accuracy"),
        ({"direction": "minimize"}, "validation/accuracy is better the other way"),
        ({"serach": "grid"}, "unknown key 'serach'; did you mean 'search'?"),
        ({"pruning": {"after_round": 3}}, "unknown key 'pruning.after_round'; did you mean 'after_rounds'?"),
        ({"search": "grid"}, "trials=4 is set but search=grid runs every combination"),
        ({"search": "grid", "trials": None}, "'client.learning_rate': search=grid takes how many values of the range? Set points."),
        ({"trials": None}, "search=tpe needs the number of children"),
        ({"space": {}}, "'space'"),
        ({"space": {"client.learning_rat": {"choices": [1.0]}}}, "did you mean 'client.learning_rate'?"),
        ({"space": {"data.alpha": {"min": 0.1, "max": 1}}}, "found 'data.alpha': children would be judged by other examples"),
        ({"space": {"tracking.experiment": {"choices": ["a"]}}}, "it changes no result"),
        ({"space": {"model.name": {"min": 1, "max": 2}}}, "'model.name' is no number"),
        ({"space": {"client.epochs": {"min": 1, "max": 2.5}}}, "'client.epochs' is a whole number, found the range 1.0 to 2.5"),
        ({"space": {"client.epochs": {"min": 3, "max": 1}}}, "expected min below max, found 3.0 and 1.0"),
        ({"space": {"client.epochs": {"min": 1}}}, "expected choices, or min and max"),
        ({"space": {"client.epochs": {"choices": [1], "max": 2}}}, "found both"),
        ({"space": {"client.epochs": {"choices": [1, 1]}}}, "expected each choice once"),
        ({"space": {"client.learning_rate": {"min": 0, "max": 1, "log": True}}}, "expected min above 0 with log"),
        ({"space": {"client.epochs": {"min": 1, "max": 3, "points": 2}}}, "points=2 is set but search=tpe ignores it"),
        ({"name": "../x"}, "'name'"),
    ],
)
def test_refusals(tmp_path: Path, values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_sweep(written(tmp_path, **values))
    assert words in str(caught.value)
    assert str(caught.value).startswith("rates.yaml: ")


@pytest.mark.parametrize("search", ["grid", "random"])
def test_children_that_cannot_be_are_refused_before_any_starts(tmp_path: Path, search: str) -> None:
    space = {"cohort.size": {"choices": [10, 200]}}
    sweep = load_sweep(written(tmp_path, search=search, trials=None if search == "grid" else 2, space=space))
    with pytest.raises(ConfigError, match=r"x: child with cohort.size=200: cohort.size=200 is larger than the population"):
        check_space(sweep, BASE, "x")
    with pytest.raises(ConfigError, match=r"needs validation examples, found data.validation_fraction=0: the test set must not choose"):
        check_space(sweep, Config(), "x")


def test_a_child_differs_from_its_base_in_its_point_alone() -> None:
    child = child_config(BASE, {"client.learning_rate": 0.5, "rounds": 3}, "here")
    assert (child.client.learning_rate, child.rounds) == (0.5, 3)
    assert child_config(child, {"client.learning_rate": BASE.client.learning_rate, "rounds": BASE.rounds}, "here") == BASE
