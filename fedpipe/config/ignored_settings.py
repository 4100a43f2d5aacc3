"""Which settings a choice reads: `aggregator.name=trimmed_mean` reads `aggregator.trim_fraction`.

A setting that the choice beside it does not read cannot be written in a params file. `aggregator`
and `privacy` are discriminated unions of models. A table says it for sections with two choices, for
the server's optimizer, which the algorithm may bring, and where a function of the user's own may be
chosen.

`data.alpha`, `labels_per_client` and `sigma` may stand beside any partition: the key of who the
clients are (`fedpipe.runs.lineage.population_key`) is made of all three.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fedpipe.config.algorithm_table import ALGORITHMS
from fedpipe.config.base import OWN, OWN_FUNCTION
from fedpipe.config.cohort import CohortConfig
from fedpipe.config.data import SOURCE_NAMES, DataConfig
from fedpipe.config.model import MODEL_NAMES, ModelConfig
from fedpipe.config.privacy import Privacy
from fedpipe.config.training import Aggregator, AlgorithmConfig, ClientConfig, ServerConfig

Readers = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Choice:
    """A setting whose value decides which other settings of its section are read.

    Attributes:
        section: its section.
        setting: its name in the section.
        fields: all settings of the section.
        readers: of each setting that not every value reads, the values that do; `OWN` among them
            is any function of the user's own.
        values: those that are known; of an unknown one nothing is refused here.
        own_reads: whether a function of the user's own, as the value, may read every setting.
    """

    section: str
    setting: str
    fields: Mapping[str, FieldInfo]
    readers: Readers
    values: Collection[str]
    own_reads: bool = True

    @property
    def key(self) -> str:
        """Return the dotted key of the setting, such as `aggregator.name`."""
        return f"{self.section}.{self.setting}"

    def reads(self, value: str, setting: str) -> bool:
        """Return whether a known value reads a setting of the section."""
        if setting not in self.readers:
            return True
        is_own = value not in self.values and OWN_FUNCTION.fullmatch(value) is not None
        return (OWN if is_own else value) in self.readers[setting]

    def knows(self, value: Any) -> bool:
        """Return whether the table says which settings a value reads."""
        if not isinstance(value, str):
            return False
        return value in self.values or not (self.own_reads or OWN_FUNCTION.fullmatch(value) is None)


@dataclass(frozen=True)
class IgnoredSetting:
    """A setting that a choice does not read.

    Attributes:
        key: the setting, such as `aggregator.trim_fraction`.
        value: its value.
        is_default: whether this is the value that it has where it is not set.
        choice: the choice that does not read it.
        cause: a setting and its value, such as `aggregator.name=mean`.
    """

    key: str
    value: Any
    is_default: bool
    choice: Choice
    cause: str

    def __str__(self) -> str:
        """Return the error about it."""
        readers = self.choice.readers[self.key.partition(".")[2]]
        if len(readers) == len(self.choice.values) - 1:
            readers = readers[:1]  # one example is enough
        prefix = "algorithm.name=" if self.choice.section == "algorithm" else ""
        return (
            f"{self.key}={'null' if self.value is None else self.value} is set but {self.cause} "
            f"ignores it. Remove it or choose {prefix}{' or '.join(readers)}."
        )


def variants_of(section: Any) -> tuple[type[BaseModel], ...]:
    """Return the models of a section: those of its union, or the one that it is."""
    if isinstance(section, type):
        return (section,)
    members = get_args(section)
    if isinstance(members[0], type):
        return members
    return variants_of(members[0])


def fields_of(section: Any) -> dict[str, FieldInfo]:
    """Return the settings of a section, those of all its variants together."""
    fields: dict[str, FieldInfo] = {}
    for variant in variants_of(section):
        fields |= variant.model_fields | fields
    return fields


def _of_union(section: str, setting: str, union: Any) -> Choice:
    readers: dict[str, tuple[str, ...]] = {}
    for variant in variants_of(union):
        for name in variant.model_fields:
            tag = get_args(variant.model_fields[setting].annotation)
            readers[name] = readers.get(name, ()) + tag
    return Choice(section, setting, fields_of(union), readers, readers[setting])


def _of_literal(section: str, setting: str, model: type[BaseModel], readers: Readers) -> Choice:
    fields = model.model_fields
    return Choice(section, setting, fields, readers, get_args(fields[setting].annotation))


_OPTIONS = {"options": (OWN,)}
_SOURCE = _OPTIONS | dict.fromkeys(("separator", "encoding", "decimal", "column_names"), ("csv",))
_ALGORITHM = _OPTIONS | {"mu": tuple(name for name in ALGORITHMS if "mu" in ALGORITHMS[name].own)}
_MODEL = _OPTIONS | {"batch_norm": (OWN,)} | dict.fromkeys(("tokens", "positions"), ("lstm",))
_MOMENTUM = {"momentum": ("momentum",)}
_SERVER_OPTIMIZER = _MOMENTUM | {
    "beta_1": ("adam", "yogi"),
    "beta_2": ("adam", "yogi"),
    "epsilon": ("adam", "adagrad", "yogi"),
}
_SCHEDULE = {
    "decay_rate": ("exponential",),
    "decay_rounds": ("exponential",),
    "final_fraction": ("cosine",),
}

CHOICES = (
    Choice(
        "data",
        "source",
        DataConfig.model_fields,
        _SOURCE | dict.fromkeys(("feature_columns", "ignore_columns"), ("csv", "parquet")),
        SOURCE_NAMES,
    ),
    _of_literal("cohort", "strategy", CohortConfig, {"separation_rounds": ("min_separation",)}),
    Choice(
        "model",
        "name",
        ModelConfig.model_fields,
        _MODEL,
        MODEL_NAMES,
        own_reads=False,
    ),
    Choice("algorithm", "name", AlgorithmConfig.model_fields, _ALGORITHM, ALGORITHMS),
    _of_literal("client", "optimizer", ClientConfig, _MOMENTUM),
    _of_literal("client", "schedule", ClientConfig, _SCHEDULE),
    _of_literal("server", "optimizer", ServerConfig, _SERVER_OPTIMIZER),
    _of_literal("server", "schedule", ServerConfig, _SCHEDULE),
    _of_union("aggregator", "name", Aggregator),
    _of_union("privacy", "mechanism", Privacy),
)


def ignored_settings(values: Mapping[str, Any]) -> Iterator[IgnoredSetting]:
    """Yield the settings that the choices beside them do not read.

    Args:
        values: settings as a params file has them, sections within.
    """
    algorithm = ALGORITHMS.get(name := str(_section(values, "algorithm").get("name")))
    for choice in CHOICES:
        settings = _section(values, choice.section)
        chosen = _chosen(values, choice)
        cause = f"{choice.key}={chosen}"
        if choice.key == "server.optimizer" and algorithm and algorithm.server_optimizer:
            chosen = algorithm.server_optimizer
            cause = f"algorithm.name={name}"
        if not choice.knows(chosen):
            continue
        for name_in_section, value in settings.items():
            if not choice.reads(chosen, name_in_section):
                is_default = value in (None, choice.fields[name_in_section].default)
                key = f"{choice.section}.{name_in_section}"
                yield IgnoredSetting(key, value, is_default, choice, cause)


def _chosen(values: Mapping[str, Any], choice: Choice) -> Any:
    """Return the value of a choice, its default where the settings do not have it."""
    settings = _section(values, choice.section)
    return settings.get(choice.setting, choice.fields[choice.setting].default)


def _section(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the settings of a section that differ from the defaults, if it is a model, or that a
    file has; none if the section is something else, which is refused elsewhere.
    """
    settings = values.get(name)
    if isinstance(settings, BaseModel):
        return settings.model_dump(exclude_defaults=True)
    if isinstance(settings, Mapping):
        return settings
    return {}


def problem_of_ignored(values: Mapping[str, Any]) -> str | None:
    """Return the error about settings that the choices beside them do not read, None if there are
    none.

    A file of the form that fedpipe had before, in which a section has every setting of every
    choice, most of them null, gets one error with the form to write.
    """
    without_effect = []
    refused = []
    for setting in ignored_settings(values):
        if setting.is_default:
            without_effect.append(setting)
        else:
            refused.append(setting)
    keys = ", ".join(setting.key for setting in without_effect)
    if refused or len(without_effect) < 2:
        text = " ".join(map(str, refused or without_effect))
        if refused and without_effect:
            text += f" Remove as well: {keys}."
        return text or None
    clean = without_ignored(values)
    sections = dict.fromkeys(setting.choice.section for setting in without_effect)
    form = {section: dict(clean[section]) for section in clean if section in sections}
    text = yaml.safe_dump(form, sort_keys=False, default_flow_style=True, width=10_000)
    return (
        "expected sections that hold only what their choice reads, found settings of other "
        f"choices: {keys}. Remove these lines; the sections without them: {text.strip()[1:-1]}"
    )


def without_ignored(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings without those that the choices beside them do not read: what fedpipe
    recorded when it still wrote all of them.
    """
    clean = dict(values)
    for setting in ignored_settings(values):
        section = setting.choice.section
        name = setting.key.partition(".")[2]
        clean[section] = {key: clean[section][key] for key in clean[section] if key != name}
    return clean


def switch_choices(
    values: dict[str, Any], before: Mapping[str, Any], overridden: Collection[str]
) -> None:
    """Delete from `values` the settings of earlier choices, which the new ones do not read.

    Args:
        values: settings after overrides, sections within; changed in place.
        before: the settings without the overrides.
        overridden: keys of the overrides. They stay, so that they are refused and not lost.
    """
    choices = {
        choice.key for choice in CHOICES if _chosen(values, choice) != _chosen(before, choice)
    }
    if "algorithm.name" in choices:
        choices.add("server.optimizer")  # some algorithms bring it
    for setting in list(ignored_settings(values)):
        is_overridden = any(f"{key}.".startswith(f"{setting.key}.") for key in overridden)
        if setting.choice.key in choices and not is_overridden:
            section, _, name = setting.key.partition(".")
            del values[section][name]
