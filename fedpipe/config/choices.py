"""Which settings a choice reads: `aggregator.name=trimmed_mean` reads `aggregator.trim_fraction`.

A setting that the choice beside it does not read cannot be written in a params file. Where a
section has one choice its form is a discriminated union of models (`by_variant`); `client` and
`server` have two choices each, and the algorithm may bring the server's optimizer, so that for
these the table here says which values read a setting.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fedpipe.config.algorithms import ALGORITHMS
from fedpipe.config.training import Aggregator, ClientConfig, ServerConfig


@dataclass(frozen=True)
class Choice:
    """A setting whose value decides which other settings of its section are read.

    Attributes:
        key: the setting, such as `aggregator.name`.
        values: those that the table knows; of any other value nothing is refused here.
        readers: of each setting that not every value reads, the values that do.
        fields: all settings of the section.
    """

    key: str
    values: tuple[str, ...]
    readers: Mapping[str, tuple[str, ...]]
    fields: Mapping[str, FieldInfo]

    @property
    def section(self) -> str:
        """Return the section of the choice and of the settings it decides about."""
        return self.key.partition(".")[0]

    @property
    def setting(self) -> str:
        """Return the choice without its section."""
        return self.key.partition(".")[2]


@dataclass(frozen=True)
class IgnoredSetting:
    """A setting that a choice does not read.

    Attributes:
        key: the setting, such as `aggregator.trim_fraction`.
        value: its value.
        choice: the choice and its value, such as `aggregator.name=mean`.
        readers: the values of the choice that read the setting.
        is_default: whether the value is the one that it has where it is not set.
    """

    key: str
    value: Any
    choice: str
    readers: tuple[str, ...]
    is_default: bool

    def __str__(self) -> str:
        """Return the error about it."""
        text = "null" if self.value is None else self.value
        return (
            f"{self.key}={text} is set but {self.choice} ignores it. Remove it or choose "
            f"{' or '.join(self.readers)}."
        )


def variants_of(annotation: Any) -> tuple[type[BaseModel], ...]:
    """Return the models of a section: those of a union, else the one."""
    if isinstance(annotation, type):
        return (annotation,)
    members = get_args(annotation)
    if isinstance(members[0], type):
        return members
    return variants_of(members[0])


def fields_of(annotation: Any) -> dict[str, FieldInfo]:
    """Return the settings of a section, those of all its variants together."""
    fields: dict[str, FieldInfo] = {}
    for variant in variants_of(annotation):
        fields = fields | variant.model_fields | fields
    return fields


def _of_variants(key: str, union: Any) -> Choice:
    """Return the choice of a discriminated union."""
    setting = key.partition(".")[2]
    fields = fields_of(union)
    readers: dict[str, list[str]] = {name: [] for name in fields}
    for variant in variants_of(union):
        for name in variant.model_fields:
            readers[name] += get_args(variant.model_fields[setting].annotation)
    return _of_table(key, fields, {name: tuple(values) for name, values in readers.items()})


def _of_table(
    key: str, fields: Mapping[str, FieldInfo], readers: Mapping[str, tuple[str, ...]]
) -> Choice:
    values = readers.get(setting := key.partition(".")[2]) or get_args(fields[setting].annotation)
    return Choice(key, values, readers, fields)


_SCHEDULE = {
    "decay_rate": ("exponential",),
    "decay_rounds": ("exponential",),
    "final_fraction": ("cosine",),
}
_SERVER_OPTIMIZER = {
    "momentum": ("momentum",),
    "beta_1": ("adam", "yogi"),
    "beta_2": ("adam", "yogi"),
    "epsilon": ("adam", "adagrad", "yogi"),
}

CHOICES = (
    _of_table("client.optimizer", ClientConfig.model_fields, {"momentum": ("momentum",)}),
    _of_table("client.schedule", ClientConfig.model_fields, _SCHEDULE),
    _of_table("server.optimizer", ServerConfig.model_fields, _SERVER_OPTIMIZER),
    _of_table("server.schedule", ServerConfig.model_fields, _SCHEDULE),
    _of_variants("aggregator.name", Aggregator),
)


def ignored_settings(values: Mapping[str, Any]) -> list[IgnoredSetting]:
    """Return the settings that the choices beside them do not read.

    Args:
        values: settings as a params file has them, sections within.
    """
    return [ignored for choice in CHOICES for ignored in _ignored_by(choice, values)]


def _ignored_by(choice: Choice, values: Mapping[str, Any]) -> Iterator[IgnoredSetting]:
    section = values.get(choice.section)
    if isinstance(section, BaseModel):
        section = section.model_dump(exclude_defaults=True)
    if not isinstance(section, Mapping):
        return
    chosen = section.get(choice.setting, choice.fields[choice.setting].default)
    cause = f"{choice.key}={chosen}"
    if choice.key == "server.optimizer" and (algorithm := _with_own_optimizer(values)):
        chosen = ALGORITHMS[algorithm].server_optimizer
        cause = f"algorithm.name={algorithm}"
    if chosen not in choice.values:
        return
    for setting, value in section.items():
        if setting in choice.readers and chosen not in choice.readers[setting]:
            is_default = value in (None, choice.fields[setting].default)
            readers = choice.readers[setting]
            yield IgnoredSetting(f"{choice.section}.{setting}", value, cause, readers, is_default)


def problem_of_ignored(values: Mapping[str, Any]) -> str | None:
    """Return the error about settings that the choices beside them do not read, None if there are
    none.

    A file of the form that fedpipe had before, in which a section has every setting of every
    choice, most of them null, gets one error with the form to write.
    """
    ignored = ignored_settings(values)
    without_effect = [setting.key for setting in ignored if setting.is_default]
    refused = " ".join(str(setting) for setting in ignored if not setting.is_default)
    if refused and without_effect:
        return f"{refused} Remove as well: {', '.join(without_effect)}."
    if refused or len(ignored) < 2:
        return refused or next(map(str, ignored), None)
    clean = without_ignored(values)
    sections = {key.partition(".")[0] for key in without_effect}
    form = yaml.safe_dump(
        {name: dict(clean[name]) for name in clean if name in sections},
        sort_keys=False,
        default_flow_style=True,
        width=10_000,
    )
    return (
        "expected sections that hold only what their choice reads, found settings of other "
        f"choices: {', '.join(without_effect)}. Remove these lines; the sections without them: "
        f"{form.strip()[1:-1]}"
    )


def without_ignored(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings without those that the choices beside them do not read: what fedpipe
    recorded when it still wrote all of them.
    """
    ignored = {setting.key for setting in ignored_settings(values)}
    return {
        section: _without(section, settings, ignored) if isinstance(settings, Mapping) else settings
        for section, settings in values.items()
    }


def _without(section: str, settings: Mapping[str, Any], ignored: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if f"{section}.{name}" not in ignored}


def switch_choices(
    values: dict[str, Any], switched: Collection[str], set_too: Collection[str]
) -> None:
    """Delete from `values` the settings of the choices made before, which the new ones do not read.

    Args:
        values: settings, sections within; changed in place.
        switched: keys among which are the choices that were made anew, such as `aggregator.name`.
        set_too: keys that were set with them. They stay, so that they are refused and not lost.
    """
    choices = set(switched)
    if "algorithm.name" in choices:
        choices.add("server.optimizer")  # some algorithms bring it
    for setting in ignored_settings(values):
        if setting.choice.partition("=")[0] in choices and setting.key not in set_too:
            section, _, name = setting.key.partition(".")
            values[section] = {key: value for key, value in values[section].items() if key != name}


def _with_own_optimizer(values: Mapping[str, Any]) -> str | None:
    """Return the name of the algorithm if it brings the server's optimizer."""
    section = values.get("algorithm")
    name = section.get("name") if isinstance(section, Mapping) else getattr(section, "name", None)
    algorithm = ALGORITHMS.get(name) if isinstance(name, str) else None
    return name if algorithm and algorithm.server_optimizer else None
