"""Settings given as Python values, in the form that a run takes: a params file, and overrides as
KEY=VALUE.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from fedpipe.config.load import (
    apply_overrides,
    known_keys,
    nearest,
    parse_config,
    set_setting,
)
from fedpipe.config.schema import Config
from fedpipe.config.yaml_file import parse_yaml
from fedpipe.errors import ConfigError
from fedpipe.project.paths import Project, params_file

_WHERE = "params"
"""Place of settings that are given as a mapping, in errors."""

Params = Path | str | Mapping[str, Any] | None
Overrides = Mapping[str, Any] | Sequence[str]


@contextmanager
def given_settings(
    project: Project, params: Params, overrides: Overrides
) -> Iterator[tuple[Path, list[str]]]:
    """Give a params file and overrides as KEY=VALUE; the file of a mapping is gone after the block.

    Args:
        project: has the params file that is meant by None.
        params: a path, or a mapping of settings, by section or by dotted key; a setting that it
            leaves out has fedpipe's default.
        overrides: a mapping of settings, by section or by dotted key, or KEY=VALUE texts.

    Raises:
        ConfigError: a key is unknown, a value cannot be a setting, or a setting is not valid.
    """
    texts = override_texts(overrides)
    if not isinstance(params, Mapping):
        yield params_file(project, None if params is None else Path(params)), texts
        return
    values = nested(params)
    checked = nested(params)
    apply_overrides(checked, texts)
    parse_config(checked, _WHERE, texts)
    with tempfile.TemporaryDirectory(prefix="fedpipe-params-") as folder:
        path = Path(folder) / "params.yaml"
        path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
        yield path, texts


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by section; dotted keys and sections may both stand in `settings`.

    Raises:
        ConfigError: a key is unknown, or a setting stands twice.

    >>> nested({"client.learning_rate": 0.1, "client": {"epochs": 2}, "rounds": 3})
    {'client': {'learning_rate': 0.1, 'epochs': 2}, 'rounds': 3}
    """
    values: dict[str, Any] = {}
    for key, value in _by_dotted_key(settings, _WHERE):
        set_setting(values, key, value)
    return values


def override_texts(overrides: Overrides) -> list[str]:
    """Return overrides as KEY=VALUE, the value in YAML.

    Raises:
        ConfigError: a key is unknown, or a value cannot be a setting.

    >>> override_texts({"client.optimizer": "adam", "cohort": {"size": 5}, "eval.patience": None})
    ['client.optimizer=adam', 'cohort.size=5', 'eval.patience=null']
    """
    if isinstance(overrides, str):
        raise ConfigError(
            f"overrides: expected a mapping or a list of KEY=VALUE, found the text '{overrides}'. "
            f"Write [{overrides!r}]."
        )
    if not isinstance(overrides, Mapping):
        return list(overrides)
    return [f"{key}={_text(key, value)}" for key, value in _by_dotted_key(overrides, "overrides")]


def _by_dotted_key(settings: Mapping[str, Any], where: str) -> list[tuple[str, Any]]:
    """Return each setting's dotted key and its plain value."""
    known = set(known_keys())
    pairs: dict[str, Any] = {}
    for name, value in settings.items():
        is_section = name in Config.model_fields and name not in known
        if is_section and not isinstance(value, Mapping):
            raise ConfigError(
                f"{where}: '{name}': expected a mapping of settings, found {value!r}."
            )
        inner = {name: value}
        if is_section:
            inner = {f"{name}.{key}": member for key, member in value.items()}
        for key, member in inner.items():
            if key in pairs:
                raise ConfigError(f"{where}: '{key}' stands twice. Leave one of them out.")
            if key not in known and key.split(".")[0] not in Config.model_fields:
                raise ConfigError(f"{where}: unknown key '{key}'{nearest(str(key))}")
            pairs[str(key)] = _plain(f"{where}: '{key}'", member)
    return list(pairs.items())


def _plain(place: str, value: Any) -> Any:
    """Return a setting's value as YAML has it: NumPy's numbers and arrays, paths and tuples
    become plain ones.
    """
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(place, member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(place, member) for member in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    hint = " Write `module:function` as text." if callable(value) else ""
    raise ConfigError(
        f"{place}: expected text, a number, a truth value, a list or a mapping, found "
        f"{type(value).__name__}.{hint}"
    )


def _text(key: str, value: Any) -> str:
    """Return a plain value as the text that YAML reads back."""
    if isinstance(value, str):
        try:
            if value and parse_yaml(value, key) == value:
                return value
        except ConfigError:
            return json.dumps(value)
    return json.dumps(value)
