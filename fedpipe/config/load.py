"""From a params file and overrides to a `Config`, or one clear error.

The file is YAML, loaded safely. Every problem becomes a `ConfigError` that names the file, the key,
what was expected and what was found.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fedpipe.config.ignored_settings import switch_choices, without_ignored
from fedpipe.config.schema import OPTIONS, Config, flatten, is_option, known_settings
from fedpipe.config.yaml_file import parse_yaml, read_yaml
from fedpipe.errors import ConfigError, shorten
from fedpipe.redact import hide


def load_config(path: Path, overrides: Iterable[str] = ()) -> Config:
    """Return the settings of the YAML file at `path`, with overrides such as
    `client.learning_rate=0.05` applied.

    Raises:
        ConfigError: the file is missing or no YAML mapping, a key is unknown, a value has the wrong
            type or range or holds a password, or a setting contradicts another.
    """
    values = read_params(path)
    overrides = list(overrides)
    apply_overrides(values, overrides)
    return parse_config(values, path.name, overrides)


def read_params(
    path: Path,
    missing: str = "no such params file. Name one with --params, or run in a fedpipe project.",
) -> dict[str, Any]:
    """Return the mapping in the YAML file at `path`. Raises ConfigError if it cannot be read or is
    none; `missing` is for no file.
    """
    try:
        values = read_yaml(path, path.name)
    except FileNotFoundError as err:
        raise ConfigError(f"{path}: {missing}") from err
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(
            f"{path.name}: expected a mapping of settings, found {type(values).__name__}."
        )
    return values


def parse_config(values: Mapping[str, Any], where: str, overrides: Sequence[str] = ()) -> Config:
    """Return `values` as a `Config`.

    Args:
        values: the settings, sections within.
        where: names their origin in errors.
        overrides: those among them that come from overrides, which an error names in the place of
            `where`.

    Raises:
        ConfigError: a value has the wrong type or range, or contradicts another.
    """
    try:
        config = Config.model_validate(values)
    except ValidationError as err:
        problems: dict[str, list[str]] = {}
        for error in err.errors():
            text = explain(error)
            problems.setdefault(_place_of(error, text, where, overrides), []).append(text)
        raise ConfigError(
            "; ".join(f"{place}: {'; '.join(texts)}" for place, texts in problems.items())
        ) from err
    _refuse_secrets(config, where)
    return config


def parse_recorded(values: Mapping[str, Any], where: str) -> Config:
    """Return settings that fedpipe itself recorded, also those from before sections held only what
    their choice reads. Arguments and errors as those of `parse_config`.
    """
    return parse_config(without_ignored(values), where)


def known_keys() -> list[str]:
    """Return every dotted key that a params file may hold."""
    return list(known_settings())


def apply_overrides(values: dict[str, Any], overrides: Sequence[str]) -> None:
    """Set settings in `values`, sections within, to what overrides such as
    `client.learning_rate=0.05` say.

    An override that changes a choice, such as `aggregator.name=krum`, removes the settings that
    belong to the choice made before, but for those that are overridden too.

    Args:
        values: settings, changed in place.
        overrides: the overrides, in any order.

    Raises:
        ConfigError: see `set_overrides`.
    """
    before = deepcopy(values)
    switch_choices(values, before, set_overrides(values, overrides))


def set_overrides(
    values: dict[str, Any], overrides: Sequence[str], where: str = "-S"
) -> dict[str, str]:
    """Set settings in `values` to what overrides say, and no more; return the overrides by key.

    Args:
        values: settings, changed in place.
        overrides: the overrides, in any order.
        where: their place, for errors.

    Raises:
        ConfigError: an override has another form, or names no setting; or two set the same key:
            which of them counts would depend on their order.
    """
    by_key: dict[str, str] = {}
    for override in overrides:
        key = override.partition("=")[0]
        if key in by_key:
            raise ConfigError(
                f"{where} {by_key[key]} and {where} {override}: the same setting twice. Leave one "
                "of them out."
            )
        section = key.rpartition(".")[0]
        whole = by_key.get(section) if section in OPTIONS else None
        if whole is None and key in OPTIONS:
            whole = next((by_key[one] for one in by_key if one.startswith(f"{key}.")), None)
        if whole is not None:
            raise ConfigError(
                f"{where} {whole} and {where} {override}: both set the same options. Leave one of "
                "them out."
            )
        by_key[key] = override
        _apply_override(values, override, where)
    return by_key


def _apply_override(values: dict[str, Any], override: str, where: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(
            f"{where} {override}: expected KEY=VALUE, for example client.learning_rate=0.05."
        )
    if key not in known_keys() and not is_option(key):
        raise ConfigError(f"{where} {override}: unknown key '{key}'{nearest(key)}")
    is_sign = (
        len(text) == 1 and not text.isalnum() and text != "~"
    )  # a separator such as , or |, which YAML would not read as a text
    try:
        set_setting(values, key, text if is_sign else parse_yaml(text, f"{where} {override}"))
    except TypeError as err:
        raise ConfigError(f"{where} {override}: {err}") from err


def set_setting(values: dict[str, Any], key: str, value: Any) -> None:
    """Set the setting with a dotted key in `values`, sections within. Raises TypeError if its
    section holds no mapping.
    """
    *sections, name = key.split(".")
    settings: Any = values
    for number, section in enumerate(sections):
        settings = settings.setdefault(section, {})
        if not isinstance(settings, dict):
            where = ".".join(sections[: number + 1])
            raise TypeError(f"'{where}' holds {settings!r} in the params file, expected a mapping.")
    settings[name] = value


def _place_of(error: Any, text: str, where: str, overrides: Sequence[str]) -> str:
    """Return the place of an error's setting: the file, an override, or both for settings that
    contradict each other.
    """
    keys = {override.partition("=")[0]: override for override in overrides}
    key = key_of(error)
    if key in keys:
        return f"-S {keys[key]}"
    named = [
        override
        for key, override in keys.items()
        if error["type"] == "value_error" and f"{key}=" in text
    ]
    if named:
        return f"{where} with {' '.join(f'-S {override}' for override in named)}"
    return where


def _refuse_secrets(config: Config, where: str) -> None:
    """Refuse a setting that holds a password or a token: settings are recorded, in MLflow, Prefect,
    DVC and the run's folder.
    """
    for key, value in flatten(config).items():
        if (
            isinstance(value, str | list | tuple | dict)
            and value != known_settings()[key].default
            and hide(str(value)) != str(value)
        ):
            raise ConfigError(
                f"{where}: '{key}': expected a setting without a password or token, found "
                f"{hide(str(value))}. Settings are recorded with the run: keep secrets in the "
                "environment."
            )


def nearest(key: str) -> str:
    """Return the end of an error about an unknown key: the setting that may have been meant."""
    keys = known_keys()
    members = [known for known in keys if known.startswith(f"{key}.")]
    if members:
        return f": it is a section of settings. Set one of them: {shorten(members, 3)}."
    names = keys + sorted({k.split(".")[0] for k in keys})
    close = difflib.get_close_matches(key, names, n=1, cutoff=0.6)
    same_end = [known for known in keys if known.split(".")[-1] == key.split(".")[-1]]
    if "." not in key and same_end:
        close = same_end[:2]
    elif not close:
        close = same_end[:1]
    meant = " or ".join(f"'{name}'" for name in close)
    if close:
        return f"; did you mean {meant}?"
    return f". Known keys: {', '.join(keys[:4])}, ... (see docs/params.md)."


def explain(error: Any) -> str:
    """Return one of pydantic's errors of a `Config` in words: the key, what was expected and what
    was found.
    """
    key = key_of(error)
    if error["type"] == "extra_forbidden":
        return f"unknown key '{key}'{nearest(key)}"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if error["type"] == "union_tag_invalid":
        names = error["ctx"]
        return f"'{key}': expected one of {names['expected_tags']}, found {names['tag']!r}"
    expected = error["msg"][:1].lower() + error["msg"][1:]
    return f"'{key}': {expected}, found {error['input']!r}{_hint(error)}"


def key_of(error: Any) -> str:
    """Return the dotted key of the setting that one of pydantic's errors of a `Config` is about."""
    section, *inner = map(str, error["loc"] or ("",))
    field = Config.model_fields.get(section)
    if field and field.discriminator and inner:
        del inner[0]  # the name of the variant
    if error["type"] == "union_tag_invalid":
        inner = [error["ctx"]["discriminator"].strip("'")]
    return ".".join([section, *inner])


def _hint(error: Any) -> str:
    """Return the fix for a text in the place of a truth value or a number, or for an item in the
    place of a list.
    """
    value = error["input"]
    if error["type"] == "list_type" and isinstance(value, str | int | float):
        return f". Write [{value}]"
    if not isinstance(value, str):
        return ""
    if error["type"] == "bool_type":
        return ". Write true or false"
    if error["type"] in ("int_type", "float_type"):
        try:
            float(value)
        except ValueError:
            return ""
        return ". Write the number without quotes"
    return ""
