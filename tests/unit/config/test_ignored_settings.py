"""A section holds only the settings that its choices read, in a file, in overrides and in a sweep."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from fedpipe.config import Config, flatten, flatten_result, load_config, parse_recorded
from fedpipe.config.base import OWN
from fedpipe.config.ignored_settings import CHOICES
from fedpipe.config.params_file import leave_out_ignored
from fedpipe.config.sweep import SweepConfig
from fedpipe.config.sweep_trials import SweepBase, read_base, trial_config
from fedpipe.errors import ConfigError
from fedpipe.runs.lineage import population_key

TRIMMED = {"aggregator": {"name": "trimmed_mean", "trim_fraction": 0.2}}
MOMENTUM = {"client": {"optimizer": "momentum", "momentum": 0.5, "learning_rate": 0.3}}


def load(folder: Path, values: dict[str, Any], *overrides: str) -> Config:
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return load_config(path, overrides)


def test_an_override_of_a_choice_leaves_out_what_the_choice_before_read(tmp_path: Path) -> None:
    krum = load(tmp_path, TRIMMED, "aggregator.name=krum", "cohort.min_reports=9").aggregator
    assert krum.model_dump() == {"name": "krum", "byzantine": 1}
    client = load(tmp_path, MOMENTUM, "client.optimizer=adam").client
    assert (client.optimizer, client.momentum, client.learning_rate) == ("adam", None, 0.3)


def test_an_override_of_the_algorithm_leaves_out_the_constants_of_its_optimizer(
    tmp_path: Path,
) -> None:
    adam = {"algorithm": {"name": "fedadam"}, "server": {"beta_2": 0.9, "learning_rate": 0.1}}
    assert load(tmp_path, adam).server.beta_2 == 0.9
    server = load(tmp_path, adam, "algorithm.name=fedavg").server
    assert (server.beta_2, server.learning_rate) == (None, 0.1)
    assert load(tmp_path, adam, "algorithm.name=fedyogi").server.beta_2 == 0.9


@pytest.mark.parametrize("order", [1, -1])
def test_a_choice_and_its_settings_can_be_overridden_in_any_order(
    tmp_path: Path, order: int
) -> None:
    overrides = ["aggregator.name=trimmed_mean", "aggregator.trim_fraction=0.3"][::order]
    assert load(tmp_path, {}, *overrides).aggregator.model_dump() == {
        "name": "trimmed_mean",
        "trim_fraction": 0.3,
    }


def test_what_is_overridden_beside_a_choice_is_refused_and_not_lost(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError,
        match=r"^params\.yaml with -S aggregator\.name=krum -S aggregator\.trim_fraction=0\.3: "
        r"aggregator\.trim_fraction=0\.3 is set but aggregator\.name=krum ignores it\. Remove it or "
        r"choose trimmed_mean\.$",
    ):
        load(tmp_path, TRIMMED, "aggregator.name=krum", "aggregator.trim_fraction=0.3")


def test_a_child_of_a_sweep_has_the_settings_of_its_choice() -> None:
    base = SweepBase(TRIMMED)
    assert trial_config(base, {"aggregator.name": "median"}).aggregator.model_dump() == {
        "name": "median"
    }
    kept = trial_config(base, {"aggregator.name": "trimmed_mean"})
    assert kept == Config.model_validate(TRIMMED)
    overridden = SweepBase(TRIMMED, frozenset(["aggregator.trim_fraction"]))
    with pytest.raises(ConfigError, match=r"trim_fraction=0\.2 is set but aggregator\.name=median"):
        trial_config(overridden, {"aggregator.name": "median"})


def test_a_file_of_the_old_form_is_refused_with_the_new_one(tmp_path: Path) -> None:
    old = {
        "rounds": 3,
        "client": {"optimizer": "sgd", "momentum": None, "epochs": 2, "decay_rate": None},
        "aggregator": {"name": "krum", "trim_fraction": 0.1, "byzantine": 2, "clipping": False},
        "cohort": {"min_reports": 9},
    }
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, old)
    assert str(caught.value) == (
        "params.yaml: expected sections that hold only what their choice reads, found settings of "
        "other choices: client.momentum, client.decay_rate, aggregator.trim_fraction, "
        "aggregator.clipping. Remove these lines; the sections without them: "
        "client: {optimizer: sgd, epochs: 2}, aggregator: {name: krum, byzantine: 2}"
    )
    form = yaml.safe_load("{" + str(caught.value).partition("without them: ")[2] + "}")
    new = load(tmp_path, {**old, **form})
    assert new == parse_recorded(old, "state.json")
    assert (new.client.epochs, new.rounds) == (2, 3)


def test_settings_with_an_effect_elsewhere_and_those_of_the_old_form_are_named_at_once() -> None:
    values = {"aggregator": {"trim_fraction": 0.2, "byzantine": 1}, "client": {"momentum": None}}
    with pytest.raises(
        ValidationError,
        match=r"trim_fraction=0\.2 is set but aggregator\.name=mean ignores it\. Remove it or choose "
        r"trimmed_mean\. Remove as well: client\.momentum, aggregator\.byzantine\.",
    ):
        Config.model_validate(values)


def test_one_setting_of_another_choice_is_named_with_the_choice_that_reads_it() -> None:
    with pytest.raises(
        ValidationError,
        match=r"server\.beta_1=null is set but server\.optimizer=sgd ignores it\. .* adam or yogi\.",
    ):
        Config.model_validate({"server": {"beta_1": None}})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"aggregator": {"name": "krumm"}},
            "'aggregator.name': expected one of 'mean', 'median', 'trimmed_mean', 'krum', found 'krumm'",
        ),
        ({"aggregator": {"name": None}}, "'aggregator.name': expected one of 'mean'"),
        ({"aggregator": {"name": ["mean"]}}, "'aggregator.name': expected one of 'mean'"),
        ({"aggregator": 3}, "'aggregator': input should be"),
        ({"aggregator": {"clipping": 3}}, "'aggregator.clipping': input should be a valid boolean"),
        (
            {"aggregator": {"clippin": True}},
            "unknown key 'aggregator.clippin'; did you mean 'aggregator.clipping'?",
        ),
        (
            {"aggregator": {"compression_bits": 8, "secure": True}},
            "aggregator.compression_bits=8 does not go with secure=True",
        ),
        (
            {"client": {"optimizer": "lion", "momentum": 0.5}},
            "'client.optimizer': input should be 'sgd'",
        ),
    ],
)
def test_errors_name_the_setting_and_not_the_variant(
    tmp_path: Path, values: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=f"^params.yaml: {re.escape(words)}"):
        load(tmp_path, values)


def test_a_params_file_of_before_is_rewritten_and_another_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    old = "# old\nrounds: 3\nclient: {momentum: null, epochs: 2}\n"
    path.write_text(old)
    leave_out_ignored(path)
    assert yaml.safe_load(path.read_text()) == {"rounds": 3, "client": {"epochs": 2}}
    new = old.replace("momentum: null, ", "")
    path.write_text(new)
    leave_out_ignored(path)
    assert path.read_text() == new


def test_settings_are_written_as_they_are_read() -> None:
    config = Config.model_validate(TRIMMED | MOMENTUM)
    for mode in ("json", "python"):
        assert Config.model_validate(config.model_dump(mode=mode)) == config
    assert "decay_rate" not in config.model_dump()["client"]
    assert config.model_dump()["aggregator"] == TRIMMED["aggregator"]


def test_flat_settings_are_those_of_all_choices() -> None:
    assert list(flatten(Config.model_validate(TRIMMED))) == list(flatten(Config()))
    flat = flatten(Config())
    for choice in CHOICES:
        assert flat[choice.key] in choice.values
        assert {f"{choice.section}.{name}" for name in choice.readers} <= set(flat)
        assert all(set(readers) <= {*choice.values, OWN} for readers in choice.readers.values())


@pytest.mark.parametrize(
    ("values", "identity"),
    [
        ({}, "57f9435e55b4d24f"),
        (TRIMMED, "d39bfe68c95f8424"),
        (
            {"algorithm": {"name": "fedadam"}, "server": {"beta_2": 0.9}},
            "80d9928dcc83b787",
        ),
        (
            {
                "privacy": {
                    "mechanism": "tree",
                    "clip_norm": 1.0,
                    "noise_multiplier": 1.0,
                    "delta": 1e-5,
                }
            },
            "6a1b13b7c0df3fe8",
        ),
        (
            {
                "algorithm": {"name": "fedprox", "mu": 0.3},
                "client": {"optimizer": "momentum"},
            },
            "36f7956446535dae",
        ),
    ],
)
def test_a_run_is_the_same_as_when_all_settings_were_written(
    values: dict[str, Any], identity: str
) -> None:
    """The hashes are those of the version before; `pipeline.train` compares them on resume."""
    text = json.dumps(flatten_result(Config.model_validate(values)), sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == identity


def test_functions_of_the_users_own_may_read_all_settings_but_those_of_models() -> None:
    config = Config.model_validate(
        {
            "data": {"source": "mine.data:read", "separator": ";", "clients": None},
            "algorithm": {"name": "mine.algorithm:build", "mu": 0.1},
        }
    )
    assert (config.data.separator, config.algorithm.mu) == (";", 0.1)
    with pytest.raises(
        ValidationError, match=r"model\.tokens=5 is set but model\.name=mine\.model:build ignores"
    ):
        Config.model_validate({"model": {"name": "mine.model:build", "tokens": 5}})


@pytest.mark.parametrize(
    "values",
    [
        {"partition": "iid", "alpha": 0.5},
        {"partition": "quantity", "labels_per_client": 3},
        {"sigma": 2.0},
    ],
)
def test_settings_of_another_partition_are_kept_as_the_key_of_the_population_is_made_of_them(
    values: dict[str, Any],
) -> None:
    """Without them the private runs of these clients would no longer count together."""
    recorded = parse_recorded({"data": values}, "state.json").data
    assert recorded == Config.model_validate({"data": values}).data
    plain = Config.model_validate({"data": {"partition": recorded.partition}}).data
    keys = {population_key(data, "iid") for data in (recorded, plain)}
    assert len(keys) == 2


def test_a_choice_that_an_override_repeats_is_none_that_it_changes(tmp_path: Path) -> None:
    wrong = {"aggregator": {"name": "mean", "trim_fraction": 0.2}}
    for overrides in ((), ("aggregator.name=mean",)):
        with pytest.raises(
            ConfigError, match=r"trim_fraction=0\.2 is set but aggregator\.name=mean"
        ):
            load(tmp_path, wrong, *overrides)
    assert load(tmp_path, TRIMMED, "aggregator.name=trimmed_mean") == load(tmp_path, TRIMMED)


def test_overrides_of_a_sweep_and_of_the_command_line_are_one_change(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(TRIMMED))
    sweep = SweepConfig.model_validate(
        {
            "space": {"client.learning_rate": {"choices": [0.1]}},
            "search": "grid",
            "overrides": ["aggregator.name=median"],
        }
    )
    base = read_base(
        sweep, tmp_path / "params.yaml", "sweep.yaml", ["aggregator.name=trimmed_mean"]
    )
    assert base.values["aggregator"] == TRIMMED["aggregator"]
