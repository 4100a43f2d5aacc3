"""What a sweep's file may say, and what is refused before anything is trained."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from fedpipe.config.schema import Config
from fedpipe.config.sweep import load_sweep
from fedpipe.config.sweep_space import Dimension, grid_points, grid_values
from fedpipe.config.sweep_trials import (
    SweepBase,
    check_space,
    first_trial,
    read_base,
    trial_config,
)
from fedpipe.errors import ConfigError

ROOT = Path(__file__).parents[3]
SPACE = {"client.learning_rate": {"min": 0.01, "max": 1.0, "log": True}}
VALIDATED = {"data": {"validation_fraction": 0.2}}
BASE = SweepBase(VALIDATED, groups=1, where="x")


def written(folder: Path, **values: Any) -> Path:
    path = folder / "rates.yaml"
    path.write_text(yaml.safe_dump({"trials": 4, "space": SPACE} | values, sort_keys=False))
    return path


def test_the_sweep_that_ships_is_valid() -> None:
    sweep = load_sweep(ROOT / "sweep.yaml")
    assert (sweep.name, sweep.trial_count, sweep.better) == ("digits", 8, "maximize")
    check_space(sweep, read_base(sweep, ROOT / sweep.params, "sweep.yaml"))


def test_a_grid_knows_its_children(tmp_path: Path) -> None:
    space = {
        "client.learning_rate": {"min": 0.001, "max": 1, "log": True, "points": 4},
        "client.epochs": {"min": 1, "max": 3},
        "client.shuffle": {"choices": [True, False]},
    }
    sweep = load_sweep(written(tmp_path, search="grid", trials=None, space=space))
    assert sweep.trial_count == 4 * 3 * 2
    assert grid_values("client.learning_rate", sweep.space["client.learning_rate"]) == [
        0.001,
        0.01,
        0.1,
        1.0,
    ]
    # Whole numbers between 1 and 100 by ratio: 1, 4.64, 21.5, 100.
    assert grid_values("client.batch_size", Dimension(min=1, max=100, log=True, points=4)) == [
        1,
        5,
        22,
        100,
    ]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"metric": "test/accuracy"}, "found 'test/accuracy'. Test data never choose anything."),
        ({"metric": "train/loss"}, "metric: expected one of validation/accuracy"),
        ({"direction": "minimize"}, "validation/accuracy is better the other way"),
        ({"serach": "grid"}, "unknown key 'serach'; did you mean 'search'?"),
        (
            {"pruning": {"after_round": 3}},
            "unknown key 'pruning.after_round'; did you mean 'after_rounds'?",
        ),
        (
            {"search": "grid", "space": {"client.epochs": {"min": 1, "max": 7}}},
            "trials=4 is set but search=grid runs every combination, here 7",
        ),
        (
            {
                "search": "grid",
                "trials": None,
                "space": {"client.max_steps": {"min": 1, "max": 10_001}},
            },
            "expected at most 10000",
        ),
        (
            {"search": "grid", "trials": None},
            "'client.learning_rate': search=grid takes how many values of the range? Set points.",
        ),
        ({"trials": None}, "search=tpe needs the number of trials"),
        ({"space": {}}, "space: expected at least one setting, found none. Add one, such as"),
        ({"space": None}, "space: expected the settings that are searched, found None"),
        ({"space": [1]}, "space: expected the settings that are searched, found [1]"),
        (
            {"space": {"client.epochs": [1, 2]}},
            "space: 'client.epochs': expected a mapping such as {choices: [1, 2]}, found a list",
        ),
        (
            {"space": {"client.epochs": 3}},
            "space: 'client.epochs': expected a mapping such as {choices: [3]} or {min: 1, max: 3}, found 3",
        ),
        (
            {"space": {"client": {"epochs": {"choices": [1]}}}},
            "expected dotted keys such as 'client.epochs', found the section 'client'",
        ),
        (
            {"space": {"client.epochs": {"choices": [[1], [2]]}}},
            "expected numbers, texts, true, false or null as choices, found [1]",
        ),
        (
            {"space": {"client.epochs": {"choices": []}}},
            "'client.epochs': expected at least one choice, found none",
        ),
        (
            {"space": {"client.epochs": {"choises": [1]}}},
            "unknown key 'space.client.epochs.choises'; did you mean 'choices'?",
        ),
        (
            {"space": {"client.epochs": {"min": "1", "max": 2}}},
            "'space.client.epochs.min': input should be a valid number, found '1'",
        ),
        (
            {"rounds": 3},
            "unknown key 'rounds': it is a setting of the training. Search it under space, or set it under overrides:",
        ),
        (
            {"space": {"client.learning_rat": {"choices": [1.0]}}},
            "did you mean 'client.learning_rate'?",
        ),
        (
            {"space": {"data.alpha": {"min": 0.1, "max": 1}}},
            "found 'data.alpha': trials would be judged by other examples",
        ),
        ({"space": {"tracking.experiment": {"choices": ["a"]}}}, "it changes no result"),
        ({"space": {"model.name": {"min": 1, "max": 2}}}, "'model.name' is no number"),
        (
            {"space": {"client.epochs": {"min": 1, "max": 2.5}}},
            "'client.epochs' is a whole number, found the range 1.0 to 2.5",
        ),
        (
            {"space": {"client.epochs": {"min": 3, "max": 1}}},
            "expected min below max, found 3 and 1; a single value is choices: [3]",
        ),
        ({"space": {"client.epochs": {"min": 1}}}, "expected choices, or min and max"),
        ({"space": {"client.epochs": {"choices": [1], "max": 2}}}, "found both"),
        (
            {"space": {"client.epochs": {"choices": [1, 1]}}},
            "expected each choice once, found [1, 1]",
        ),
        (
            {"space": {"client.learning_rate": {"choices": [1, 0.1, 1.0]}}},
            "expected each choice once, found [1, 0.1, 1.0]",
        ),
        (
            {"space": {"client.learning_rate": {"min": 0, "max": 1, "log": True}}},
            "expected min above 0 with log",
        ),
        (
            {"space": {"client.epochs": {"min": 1, "max": 3, "points": 2}}},
            "points=2 is set but search=tpe ignores it",
        ),
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
    sweep = load_sweep(
        written(tmp_path, search=search, trials=None if search == "grid" else 2, space=space)
    )
    with pytest.raises(
        ConfigError,
        match=r"x: trial with cohort.size=200: cohort.size=200 is larger than the population",
    ):
        check_space(sweep, BASE)
    with pytest.raises(
        ConfigError,
        match=r"needs validation examples, found data.validation_fraction=0: the test set must not choose",
    ):
        check_space(sweep, SweepBase({}))


def test_a_child_differs_from_its_base_in_its_point_alone() -> None:
    trial = trial_config(BASE, {"client.learning_rate": 0.5, "rounds": 3})
    expected = Config.model_validate(
        {**VALIDATED, "client": {"learning_rate": 0.5}, "rounds": 3, "runtime": {"groups": 1}}
    )
    assert trial == expected


GAUSSIAN = {
    "privacy.mechanism": "gaussian",
    "privacy.clip_norm": 0.1,
    "privacy.noise_multiplier": 1.0,
    "privacy.delta": 1e-5,
}
ADAPTIVE = {"privacy.mechanism": "adaptive", "privacy.noise_multiplier": 1.0, "privacy.delta": 1e-5}


@pytest.mark.parametrize(
    ("settings", "groups"),
    [
        ({}, 3),
        *(
            ({"algorithm.name": name}, 3)
            for name in (
                "fedprox",
                "fedsgd",
                "fedavgm",
                "fedadam",
                "fedyogi",
                "mimelite",
                "fednova",
            )
        ),
        *(
            ({"algorithm.name": name}, None)
            for name in ("scaffold", "centralized", "local_only", "fedavg_reference")
        ),
        ({"algorithm.name": "mine:build"}, None),
        *(({"aggregator.name": name}, None) for name in ("median", "trimmed_mean", "krum")),
        *(({f"aggregator.{name}": True}, None) for name in ("clipping", "zeroing", "secure")),
        ({"aggregator.compression_bits": 8}, None),
        ({"cohort.strategy": "poisson", **GAUSSIAN}, None),
        ({"cohort.strategy": "uniform", **ADAPTIVE}, None),
        ({"cohort.strategy": "fixed", **GAUSSIAN, "privacy.mechanism": "tree"}, None),
        ({"runtime.debug": True}, None),
        ({"runtime.workers": 2}, 3),
        ({"runtime.groups": None}, 3),
        ({"runtime.groups": 5}, 5),
        ({"runtime.remote": ["a:1"]}, None),
    ],
)
def test_what_trains_alone_trains_in_a_sweep(settings: dict[str, Any], groups: int | None) -> None:
    values: dict[str, Any] = {
        **VALIDATED,
        "cohort": {
            "size": 10,
            "min_reports": 10 if settings.get("aggregator.name") == "krum" else 1,
        },
    }
    for key, value in settings.items():
        group, name = key.split(".")
        values.setdefault(group, {})[name] = value
    alone = Config.model_validate(values)
    trial = trial_config(SweepBase(values, groups=3), {"rounds": 7})
    assert trial.runtime.groups == groups
    assert trial == Config.model_validate(
        {
            **alone.model_dump(),
            "rounds": 7,
            "runtime": {**alone.runtime.model_dump(), "groups": groups},
        }
    )


def checked(
    folder: Path, params: dict[str, Any], command_line: tuple[str, ...] = (), **sweep_file: Any
) -> Config:
    """Return the first trial of a sweep after all checks."""
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    sweep = load_sweep(written(folder, **sweep_file))
    base = read_base(sweep, folder / "params.yaml", "rates.yaml", command_line)
    check_space(sweep, base)
    return first_trial(sweep, base)


PRIVATE = [
    "privacy.mechanism=gaussian",
    "privacy.clip_norm=0.1",
    "privacy.delta=1e-5",
    "cohort.strategy=poisson",
]
EPSILONS = {"privacy.epsilon": {"choices": [1.0, 8.0]}}
BY_NAME = {"algorithm.name": {"choices": ["fedavg", "fedprox"]}}
MU = {"algorithm.mu": {"min": 0.01, "max": 1.0, "when": {"algorithm.name": "fedprox"}}}
PATIENCE = {"cohort.size": {"choices": [5]}}


def test_settings_are_judged_with_the_childs_values_in_them(tmp_path: Path) -> None:
    assert checked(tmp_path, VALIDATED, space=EPSILONS, overrides=PRIVATE).privacy.epsilon == 1.0
    assert checked(tmp_path, VALIDATED, tuple(PRIVATE), space=EPSILONS).privacy.epsilon == 1.0
    assert checked(tmp_path, VALIDATED, space={**BY_NAME, **MU}).algorithm.mu is None
    too_large = {**VALIDATED, "cohort": {"size": 500}}  # of 100 clients, but no trial has it
    assert checked(tmp_path, too_large, space=PATIENCE).cohort.size == 5


@pytest.mark.parametrize(
    ("params", "command_line", "sweep_file", "message"),
    [
        (
            {},
            (),
            {"overrides": ["rounds=x"]},
            "rates.yaml: overrides: rounds=x: 'rounds': input should be a valid integer, found 'x'",
        ),
        (
            {},
            ("rounds=0",),
            {},
            "-S rounds=0: 'rounds': input should be greater than or equal to 1, found 0",
        ),
        (
            {"rounds": 0},
            (),
            {},
            "params.yaml: 'rounds': input should be greater than or equal to 1, found 0",
        ),
        (
            {"rounds": 0, "aggregator": {"trim_fraction": 0.2}},
            (),
            {"space": {"aggregator.name": {"choices": ["trimmed_mean"]}}},
            "params.yaml: 'rounds': input should be greater than or equal to 1, found 0",
        ),
        ({"rouns": 3}, (), {}, "params.yaml: unknown key 'rouns'; did you mean 'rounds'?"),
        ({"model": {"name": "cn"}}, (), {}, "params.yaml: model.name: expected one of"),
        (
            {},
            (),
            {"overrides": ["rouns=3"]},
            "rates.yaml: overrides: rouns=3: unknown key 'rouns'; did you mean 'rounds'?",
        ),
        (
            {},
            (),
            {"overrides": ["rounds"]},
            "rates.yaml: overrides: rounds: expected KEY=VALUE, for example",
        ),
        (
            {},
            ("client.learning_rate=1",),
            {},
            "-S client.learning_rate=1 is set but the sweep searches 'client.learning_rate'. Remove it,",
        ),
        (
            {"client": {"momentum": 0.9}},
            (),
            {},
            "rates.yaml: the settings under the trials, params.yaml with the overrides: client.momentum=0.9 is set but "
            "client.optimizer=sgd ignores it. Remove it or choose momentum.",
        ),
        (
            {},
            (),
            {"space": EPSILONS},
            "rates.yaml: trial with privacy.epsilon=1.0: privacy.epsilon=1.0 is set but privacy.mechanism=none ignores it. Remove it or "
            "choose gaussian. All trials have privacy.mechanism=none: set another in overrides, or take 'privacy.epsilon' out of the "
            "space.",
        ),
        (
            {"privacy": {"noise_multiplier": 1.0}},
            (),
            {"space": EPSILONS, "overrides": PRIVATE},
            "rates.yaml: trial with privacy.epsilon=1.0: privacy.mechanism=gaussian: expected one of privacy.noise_multiplier and "
            "privacy.epsilon, found both. Set one.",
        ),
        (
            {},
            (),
            {
                "space": {
                    "client.optimizer": {"choices": ["sgd", "momentum"]},
                    "client.momentum": {"min": 0.5, "max": 0.95},
                }
            },
            "rates.yaml: trial with client.optimizer=sgd, client.momentum=0.5: client.momentum=0.5 is set but client.optimizer=sgd ignores "
            "it. Remove it or choose momentum. For trials that ignore it, write under space: 'client.momentum: {min: 0.5, max: 0.95, "
            "when: {client.optimizer: momentum}}' (docs/sweeps.md).",
        ),
        (
            {"algorithm": {"name": "fedprox"}},
            ("algorithm.mu=0.1",),
            {"space": BY_NAME},
            "rates.yaml: trial with algorithm.name=fedavg: algorithm.mu=0.1 is set but algorithm.name=fedavg ignores it. Remove it or "
            "choose algorithm.name=fedprox. For some trials alone, move it to space: 'algorithm.mu: {choices: [0.1], when: "
            "{algorithm.name: fedprox}}' (docs/sweeps.md).",
        ),
        (
            {},
            (),
            {"space": {"client.epochs": {"choices": [1, "two"]}}},
            "rates.yaml: trial with client.epochs=two: 'client.epochs': input should be a valid integer, found 'two'",
        ),
        (
            {},
            ("aggregator.name=krum", "cohort.min_reports=9"),
            {"overrides": ["aggregator.name=trimmed_mean", "aggregator.trim_fraction=0.3"]},
            "aggregator.trim_fraction=0.3 is set but aggregator.name=krum ignores it",
        ),
        (
            {},
            (),
            {"overrides": ["runtime.groups=2", "aggregator.name=median"]},
            "runtime.groups=2 is set but aggregator.name=median",
        ),
    ],
)
def test_errors_name_the_place_and_the_child(
    tmp_path: Path,
    params: dict[str, Any],
    command_line: tuple[str, ...],
    sweep_file: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(ConfigError) as caught:
        checked(tmp_path, {**VALIDATED, **params}, command_line, **sweep_file)
    assert message in str(caught.value)
    assert not str(caught.value).startswith("params.yaml: ") or message.startswith("params.yaml: ")


OPTIMIZERS = {"client.optimizer": {"choices": ["sgd", "momentum"]}}


def test_a_grid_has_a_conditional_setting_where_it_applies(tmp_path: Path) -> None:
    momentum = {
        "client.momentum": {"choices": [0.5, 0.9], "when": {"client.optimizer": "momentum"}}
    }
    space = {
        **momentum,
        **OPTIMIZERS,
        "client.epochs": {"choices": [1, 2]},
    }  # the condition may stand before what it names
    sweep = load_sweep(written(tmp_path, search="grid", trials=None, space=space))
    assert sweep.trial_count == 2 + 2 * 2
    points = list(grid_points(sweep.space))
    assert points[:2] == [
        {"client.optimizer": "sgd", "client.epochs": 1},
        {"client.optimizer": "sgd", "client.epochs": 2},
    ]
    assert points[-1] == {
        "client.momentum": 0.9,
        "client.optimizer": "momentum",
        "client.epochs": 2,
    }
    check_space(sweep, BASE)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            {"client.momentum": {"choices": [0.5], "when": {"client.momentum": 0.5}}},
            "when names the setting itself",
        ),
        (
            {"client.momentum": {"choices": [0.5], "when": {"client.optimizer": "sgd"}}},
            "which is not in the space: all trials have one",
        ),
        (
            {
                **OPTIMIZERS,
                "client.momentum": {"choices": [0.5], "when": {"client.optimizer": "momentun"}},
            },
            "when expects client.optimizer=momentun, which no trial has",
        ),
        (
            {**OPTIMIZERS, "client.momentum": {"choices": [0.5], "when": "momentum"}},
            "space: 'client.momentum': when: expected a setting",
        ),
        (
            {**OPTIMIZERS, "client.momentum": {"choices": [0.5], "when": {"client.optimizer": []}}},
            "expected a value or a list of values",
        ),
        (
            {
                "rounds": {"choices": [1], "when": {"seed": 1}},
                "seed": {"choices": [1], "when": {"rounds": 1}},
            },
            "the conditions of 'rounds', 'seed' depend on one another",
        ),
        (
            {"seed": {"min": 1, "max": 3}, "rounds": {"choices": [1], "when": {"seed": 4}}},
            "when expects seed=4, which no trial has",
        ),
        (
            {
                "client.shuffle": {"choices": [True, False]},
                "rounds": {"choices": [1], "when": {"client.shuffle": 1}},
            },
            "when expects client.shuffle=1, which no trial has",
        ),
    ],
)
def test_conditions_that_cannot_be_are_refused(
    tmp_path: Path, space: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_sweep(written(tmp_path, space=space))
    assert message in str(caught.value)


def test_a_params_file_is_no_sweep_file(tmp_path: Path) -> None:
    (tmp_path / "cnn.yaml").write_text("rounds: 3\nmodel: {name: cnn}\n")
    with pytest.raises(
        ConfigError,
        match=r"cnn\.yaml: expected a sweep file, found a params file: it has the settings rounds, model and",
    ):
        load_sweep(tmp_path / "cnn.yaml")
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(
        ConfigError,
        match=r"empty\.yaml: space: expected the settings that are searched, found no such key\. Add one,",
    ):
        load_sweep(tmp_path / "empty.yaml")
