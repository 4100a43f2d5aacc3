"""From a params file to settings: what is valid, and what is refused with which words."""

from pathlib import Path

import pytest
import yaml

from fedpipe.config import Config, flatten, load_config
from fedpipe.config.load import known_keys
from fedpipe.config.reference import reference
from fedpipe.errors import ConfigError

ROOT = Path(__file__).parents[3]
_OTHER = {
    "data": [
        "separator",
        "encoding",
        "decimal",
        "column_names",
        "feature_columns",
        "ignore_columns",
        "labels_per_client",
        "sigma",
        "options",
    ],
    "task": ["gamma", "delta", "options"],
    "cohort": ["separation_rounds"],
    "model": ["tokens", "positions", "batch_norm", "options"],
    "algorithm": ["mu", "options"],
    "client": ["momentum", "decay_rate", "decay_rounds", "final_fraction"],
    "server": [
        "momentum",
        "beta_1",
        "beta_2",
        "epsilon",
        "decay_rate",
        "decay_rounds",
        "final_fraction",
    ],
    "aggregator": ["trim_fraction", "byzantine"],
    "privacy": [
        "clip_norm",
        "noise_multiplier",
        "epsilon",
        "delta",
        "max_epsilon",
        "target_quantile",
        "restart_rounds",
        "repeatable",
        "public_validation",
        "total_epsilon",
    ],
}
OF_OTHER_CHOICES = {f"{section}.{name}" for section, names in _OTHER.items() for name in names}
"""Settings that the choices of the shipped file do not read."""


@pytest.fixture
def params(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text("rounds: 3\nclient:\n  batch_size: 5\n")
    return path


def test_file_is_laid_over_the_defaults(params: Path) -> None:
    config = load_config(params)
    assert (config.rounds, config.client.batch_size, config.client.learning_rate) == (3, 5, 0.01)


def test_overrides_are_laid_over_the_file(params: Path) -> None:
    config = load_config(
        params,
        ["client.batch_size=7", "data.invert=true", "data.source=emnist", "data.clients=null"],
    )
    assert (config.client.batch_size, config.data.invert, config.data.clients) == (7, True, None)


def test_an_override_needs_no_group_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("")
    assert load_config(tmp_path / "params.yaml", ["cohort.size=3"]).cohort.size == 3


def test_isolation_can_be_switched_off_as_the_documentation_writes_it(params: Path) -> None:
    """YAML reads `off` as false."""
    assert load_config(params, ["runtime.isolation=off"]).runtime.isolation == "off"
    params.write_text("runtime:\n  isolation: off\n")
    assert load_config(params).runtime.isolation == "off"


def test_shipped_params_hold_every_setting_at_its_default() -> None:
    shipped = yaml.safe_load((ROOT / "params.yaml").read_text())
    flat = {
        f"{g}.{k}" if isinstance(v, dict) else g
        for g, v in shipped.items()
        for k in (v if isinstance(v, dict) else [g])
    }
    read = set(known_keys()) - OF_OTHER_CHOICES
    assert flat == read
    assert load_config(ROOT / "params.yaml") == Config()


def test_reference_is_current() -> None:
    assert (ROOT / "docs" / "params.md").read_text() == reference(), (
        "run: uv run python -m fedpipe.config.reference > docs/params.md"
    )


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().rounds = 3  # type: ignore[misc]


def test_flatten_names_groups() -> None:
    assert flatten(Config())["client.learning_rate"] == 0.01


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (
            "server.learnig_rate=1",
            r"unknown key 'server.learnig_rate'; did you mean 'server.learning_rate'\?",
        ),
        (
            "learning_rate=1",
            r"unknown key 'learning_rate'; did you mean '\w+.learning_rate' or '\w+.learning_rate'\?",
        ),
        (
            "client.batch_size=0",
            r"'client.batch_size': input should be greater than or equal to 1, found 0",
        ),
        (
            "client.batch_size=twenty",
            r"'client.batch_size': input should be a valid integer, found 'twenty'",
        ),
        (
            "client.batch_size=20.5",
            r"'client.batch_size': input should be a valid integer, found 20.5",
        ),
        (
            "client.learning_rate=-0.1",
            r"'client.learning_rate': input should be greater than 0, found -0.1",
        ),
        ("client.learning_rate=.nan", r"'client.learning_rate': input should be"),
        ("cohort.size=0", r"'cohort.size': input should be greater than or equal to 1, found 0"),
        ("cohort.size=101", r"cohort.size=101 is larger than the population, data.clients=100"),
        (
            "data.alpha=1.0e-9",
            r"'data.alpha': input should be greater than or equal to 0.0001, found 1e-09",
        ),
        ("data.clients=0", r"'data.clients': input should be greater than or equal to 1, found 0"),
        (
            "data.source=mnist",
            r"data.source: expected one of mnist5k, .* or mypackage.module:function, found 'mnist'",
        ),
        (
            "data.partition=natural",
            r"data.source=mnist5k has no clients of its own, found data.partition=natural",
        ),
        ("rounds", r"expected KEY=VALUE"),
        ("rounds=[1", r"not valid YAML"),
        ("client=3", r"unknown key 'client'"),
    ],
)
def test_bad_override_is_refused(params: Path, override: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config(params, [override])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rounds: [", r"params.yaml:1:10: not valid YAML"),
        ("- rounds", r"params.yaml: expected a mapping of settings, found list"),
        ("cleint:\n  batch_size: 3", r"params.yaml: unknown key 'cleint'; did you mean 'client'\?"),
        ("client: 3", r"'client': input should be"),
        ("rounds: !!python/object/apply:os.getcwd []", r"not valid YAML"),
    ],
)
def test_bad_file_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_config(path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere.yaml: no such params file"):
        load_config(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), (".5e-3", 5e-4), ("1.e-4", 1e-4), ("+2E3", 2000.0), ("0.01", 0.01)],
)
def test_numbers_are_those_of_yaml_1_2(params: Path, text: str, value: float) -> None:
    assert load_config(params, [f"client.learning_rate={text}"]).client.learning_rate == value
    params.write_text(f"client:\n  learning_rate: {text}\n")
    assert load_config(params).client.learning_rate == value


@pytest.mark.parametrize(
    ("text", "separator"),
    [(",", ","), (";", ";"), ("|", "|"), ("tab", "\t"), (r"\t", "\t"), ("\t", "\t")],
)
def test_a_separator_is_set_as_it_is_typed(tmp_path: Path, text: str, separator: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("data:\n  source: csv\n")
    assert load_config(path, [f"data.separator={text}"]).data.separator == separator


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["data.separator=;"],
            "data.separator=; is set but data.source=mnist5k ignores it. Remove it or choose csv",
        ),
        (
            ["data.source=parquet", "data.decimal=,"],
            "data.decimal=, is set but data.source=parquet ignores it",
        ),
        (
            ["data.source=npz", "data.ignore_columns=[a]"],
            "data.source=npz ignores it. Remove it or choose csv or parquet",
        ),
        (
            ["data.source=csv", "data.separator=ab"],
            "data.separator: expected one ASCII character such as ; or the word tab, found 'ab'",
        ),
        (
            ["data.source=csv", "data.separator=1"],
            "'data.separator': input should be a valid string",
        ),
        (
            ["data.source=csv", "data.separator=,", "data.decimal=,"],
            "data.separator and data.decimal are both ','",
        ),
        (
            ["data.source=csv", "data.encoding=utf-99"],
            "data.encoding: expected an encoding that Python knows",
        ),
        (
            ["data.source=csv", "data.encoding=base64"],
            "data.encoding: expected an encoding that Python knows",
        ),
    ],
)
def test_settings_of_tables_that_cannot_be_meant_are_refused(
    tmp_path: Path, settings: list[str], message: str
) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("{}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path, settings)
    assert message in str(caught.value)


def test_dvc_sets_a_value_in_params_yaml_and_changes_no_other_line(tmp_path: Path) -> None:
    """`dvc exp run -S` writes the whole file anew: a `null` would become nothing, in every line that has one."""
    from dvc.utils.serialize import modify_yaml

    from fedpipe.config.params_file import as_params

    for name, text in (
        ("own.yaml", (ROOT / "params.yaml").read_text()),
        ("new.yaml", as_params(Config(), "A new project.")),
    ):
        path = tmp_path / name
        path.write_text(text)
        with modify_yaml(str(path)) as values:
            values["client"]["learning_rate"] = 0.25
        before, after = text.splitlines(), path.read_text().splitlines()
        changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
        assert changed == [("  learning_rate: 0.01", "  learning_rate: 0.25")]


@pytest.mark.parametrize("column", ["[]", "[1]", "5", "[a, null]", "{a: b}", "['']"])
def test_a_label_column_is_a_name_or_a_list_of_names(tmp_path: Path, column: str) -> None:
    (tmp_path / "params.yaml").write_text("{}\n")
    with pytest.raises(
        ConfigError, match="expected the name of a column, a list of names, or null"
    ):
        load_config(tmp_path / "params.yaml", [f"data.label_column={column}"])


@pytest.mark.parametrize(
    ("column", "names"), [("y", ("y",)), ("[a, b]", ("a", "b")), ("[y]", ("y",)), ("null", ())]
)
def test_names_of_label_columns(tmp_path: Path, column: str, names: tuple[str, ...]) -> None:
    (tmp_path / "params.yaml").write_text("{}\n")
    config = load_config(tmp_path / "params.yaml", [f"data.label_column={column}"])
    assert config.data.label_columns == names
