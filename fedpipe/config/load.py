"""From a params file and overrides to a `Config`, or one clear error.

The file is YAML, loaded safely. Every problem becomes a `ConfigError` that names the file, the key, what was expected and
what was found.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from fedpipe.config.remote import PLACES
from fedpipe.config.schema import Config
from fedpipe.errors import ConfigError
from fedpipe.redact import hide


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, to which `1e-4` is a number, as it is in YAML 1.2 and to DVC; in YAML 1.1 it is a text."""


_Loader.yaml_implicit_resolvers = {first: list(found) for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789"))


def _parsed(text: str) -> Any:
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def load_config(path: Path, overrides: Iterable[str] = ()) -> Config:
    """Return the settings of the YAML file at `path`, with overrides such as `client.learning_rate=0.05` laid over them.

    Raises:
        ConfigError: the file is missing or no YAML mapping, a key is unknown, a value has the wrong type or range or holds a
            password, or a setting contradicts another.
    """
    values = read_params(path)
    for override in overrides:
        _apply_override(values, override)
    return parse_config(values, where=path.name)


def read_params(path: Path, missing: str = "no such params file. Name one with --params, or run in a fedpipe project.") -> dict[str, Any]:
    """Return the mapping in the YAML file at `path`. Raises ConfigError if it cannot be read or is none; `missing` is for no file."""
    try:
        values = _parsed(path.read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        raise ConfigError(f"{path}: {missing}") from err
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"{path}: cannot be read as text: {err}") from err
    except yaml.YAMLError as err:
        raise ConfigError(f"{path.name}: not valid YAML: {' '.join(str(err).split())}") from err
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path.name}: expected a mapping of settings, found {type(values).__name__}.")
    return values


def parse_config(values: Mapping[str, Any], where: str) -> Config:
    """Return `values` as a `Config`; `where` names their origin in errors. Raises ConfigError."""
    try:
        config = Config.model_validate(values)
    except ValidationError as err:
        problems = [_explain(error) for error in err.errors()]
        raise ConfigError(f"{where}: {'; '.join(problems)}") from err
    _refuse_secrets(config, where)
    return config


def flatten(config: BaseModel, prefix: str = "") -> dict[str, Any]:
    """Return the settings by dotted key, in the order of the schema: `{"seed": 1, ..., "data.source": "mnist5k", ...}`."""
    flat: dict[str, Any] = {}
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def flatten_result(config: Config) -> dict[str, Any]:
    """Return the settings by dotted key that a run's result may depend on: without those that only say where it is computed."""
    return {key: value for key, value in flatten(config).items() if key not in PLACES} | {"runtime.groups": config.runtime.set_groups}


def known_keys() -> list[str]:
    """Return every dotted key that a params file may hold."""
    return list(flatten(Config()))


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"-S {override}: expected KEY=VALUE, for example -S client.learning_rate=0.05.")
    if key not in known_keys():
        raise ConfigError(f"-S {override}: unknown key '{key}'{nearest(key)}")
    try:
        value = _parsed(text)
    except yaml.YAMLError as err:
        raise ConfigError(f"-S {override}: the value is not valid YAML.") from err
    *groups, last = key.split(".")
    place = values
    for group in groups:
        inner = place.setdefault(group, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"-S {override}: '{group}' holds {inner!r} in the params file, expected a mapping.")
        place = inner
    place[last] = value


def _refuse_secrets(config: Config, where: str) -> None:
    """Refuse a setting that holds a password or a token: settings are recorded, in MLflow, Prefect, DVC and the run's folder."""
    usual = flatten(Config())
    for key, value in flatten(config).items():
        if isinstance(value, str | list | tuple | dict) and value != usual[key] and hide(str(value)) != str(value):
            raise ConfigError(
                f"{where}: '{key}': expected a setting without a password or token, found {hide(str(value))}. Settings are recorded with "
                "the run: keep secrets in the environment."
            )


def nearest(key: str) -> str:
    """Return what an error about an unknown key goes on with: the setting that may have been meant."""
    keys = known_keys()
    names = keys + sorted({k.split(".")[0] for k in keys})
    close = difflib.get_close_matches(key, names, n=1, cutoff=0.6)
    if not close:
        close = [k for k in keys if k.split(".")[-1] == key.split(".")[-1]][:1]
    return f"; did you mean '{close[0]}'?" if close else f". Known keys: {', '.join(keys[:4])}, ... (see docs/params.md)."


def _explain(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"unknown key '{key}'{nearest(key)}"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    expected = error["msg"][:1].lower() + error["msg"][1:]
    return f"'{key}': {expected}, found {error['input']!r}"
