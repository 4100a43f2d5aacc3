"""Every setting of a run: the sections, and the checks between them.

`params.yaml` is parsed into these models; `docs/params.md` is generated from them. They are frozen
and refuse unknown keys. Knows nothing of files (that is `load.py`) and imports nothing heavy.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator
from pydantic.fields import FieldInfo

from fedpipe.config.algorithm_table import ALGORITHMS
from fedpipe.config.base import PositiveInt, Section
from fedpipe.config.cohort import CohortConfig as CohortConfig
from fedpipe.config.data import SOURCE_NAMES as SOURCE_NAMES
from fedpipe.config.data import DataConfig as DataConfig
from fedpipe.config.evaluation import EvalConfig as EvalConfig
from fedpipe.config.group_settings import each_client_by
from fedpipe.config.ignored_settings import fields_of, problem_of_ignored, without_ignored
from fedpipe.config.model import ModelConfig as ModelConfig
from fedpipe.config.privacy import NoPrivacy, Privacy, problem_of, problem_of_release
from fedpipe.config.remote import problem_of_remote
from fedpipe.config.runtime import RuntimeConfig as RuntimeConfig
from fedpipe.config.task import TaskConfig as TaskConfig
from fedpipe.config.tracking import TrackingConfig as TrackingConfig
from fedpipe.config.training import Aggregator, MeanAggregator
from fedpipe.config.training import AlgorithmConfig as AlgorithmConfig
from fedpipe.config.training import ClientConfig as ClientConfig
from fedpipe.config.training import Scheduled as Scheduled
from fedpipe.config.training import ServerConfig as ServerConfig


class Config(Section):
    """All settings of one run."""

    seed: int = Field(
        1, ge=0, description="Seed of all draws of training (cohorts, shuffles, initial weights)."
    )
    rounds: PositiveInt = Field(15, description="Rounds of training.")
    data: DataConfig = Field(default_factory=DataConfig, description=DataConfig.__doc__)
    task: TaskConfig = Field(default_factory=TaskConfig, description=TaskConfig.__doc__)
    cohort: CohortConfig = Field(default_factory=CohortConfig, description=CohortConfig.__doc__)
    model: ModelConfig = Field(default_factory=ModelConfig, description=ModelConfig.__doc__)
    algorithm: AlgorithmConfig = Field(
        default_factory=AlgorithmConfig, description=AlgorithmConfig.__doc__
    )
    client: ClientConfig = Field(default_factory=ClientConfig, description=ClientConfig.__doc__)
    server: ServerConfig = Field(default_factory=ServerConfig, description=ServerConfig.__doc__)
    aggregator: Aggregator = Field(
        default_factory=MeanAggregator, description="How the clients' updates become one."
    )
    privacy: Privacy = Field(
        default_factory=NoPrivacy,
        description="Differential privacy of the server's weights, for each client as a whole.",
    )
    eval: EvalConfig = Field(default_factory=EvalConfig, description=EvalConfig.__doc__)
    runtime: RuntimeConfig = Field(default_factory=RuntimeConfig, description=RuntimeConfig.__doc__)
    tracking: TrackingConfig = Field(
        default_factory=TrackingConfig, description=TrackingConfig.__doc__
    )

    @property
    def validates(self) -> bool:
        """Return whether there are validation examples: of a private run those of the clients that
        never train.
        """
        return bool(
            self.data.validation_fraction or (self.privacy.on and self.data.held_out_fraction)
        )

    @model_validator(mode="before")
    @classmethod
    def _refuse_ignored_settings(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and (problem := problem_of_ignored(values)):
            raise ValueError(problem)
        return values

    @model_serializer(mode="wrap")
    def _without_ignored_settings(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_ignored(serialize(self))

    @model_validator(mode="after")
    def _refuse_what_would_be_ignored(self) -> "Config":
        made = self.data.partition not in ("auto", "natural")
        if self.data.source == "mnist5k" and self.data.partition == "natural":
            raise ValueError(
                "data.source=mnist5k has no clients of its own, found data.partition=natural. Set "
                "data.partition=dirichlet."
            )
        if (made or self.data.source == "mnist5k") and self.data.clients is None:
            raise ValueError(
                f"data.clients is null, but data.partition={self.data.partition} must know how "
                "many to make. Set a number."
            )
        if self.data.clients is not None and self.cohort.size > self.data.clients:
            raise ValueError(
                f"cohort.size={self.cohort.size} is larger than the population, "
                f"data.clients={self.data.clients}. Lower cohort.size or raise data.clients."
            )
        if self.cohort.min_reports > self.cohort.size:
            raise ValueError(
                f"cohort.min_reports={self.cohort.min_reports} can never be reached with "
                f"cohort.size={self.cohort.size}. Lower cohort.min_reports or raise cohort.size."
            )
        if self.eval.patience is not None and not self.validates:
            raise ValueError(
                f"eval.patience={self.eval.patience} needs validation examples, found "
                "data.validation_fraction=0: the test set must not choose. Set "
                "data.validation_fraction, 0.2 for example, or remove eval.patience."
            )
        if self.tracking.register and not self.validates:
            raise ValueError(
                "tracking.register=True needs validation examples, found "
                "data.validation_fraction=0: they choose the champion, the test set must not. Set "
                "data.validation_fraction, 0.2 for example, or remove tracking.register."
            )
        self._refuse_warmups_of_all_rounds()
        self._refuse_what_the_aggregator_ignores()
        self._refuse_what_the_algorithm_ignores()
        plain = self.aggregator == MeanAggregator()
        debug = self.runtime.debug
        if self.privacy.on and self.task.class_weights == "balanced":
            raise ValueError(
                f"task.class_weights=balanced counts the clients' labels, which "
                f"privacy.mechanism={self.privacy.mechanism} does not cover. Give the weights as a "
                "list."
            )
        problem = (
            problem_of(self.privacy, self.cohort, self.client.weighting, plain, debug)
            or problem_of_release(self.privacy, self.data, self.tracking.register)
            or problem_of_remote(self)
        )
        if problem:
            raise ValueError(problem)
        reader = each_client_by(self)
        if (
            self.runtime.groups is not None
            and reader is not None
            and self.algorithm.name in ALGORITHMS
        ):
            raise ValueError(
                f"runtime.groups={self.runtime.groups} is set but {reader} ignores it: it must "
                "see each client's update, not sums of groups. Remove it."
            )
        return self

    def _refuse_warmups_of_all_rounds(self) -> None:
        for side, warmup_rounds in (
            ("client", self.client.warmup_rounds),
            ("server", self.server.warmup_rounds),
        ):
            if warmup_rounds >= self.rounds:
                raise ValueError(
                    f"{side}.warmup_rounds={warmup_rounds} is not below rounds={self.rounds}: the "
                    "full rate would not be reached. Lower it or raise rounds."
                )

    def _refuse_what_the_aggregator_ignores(self) -> None:
        chosen = self.aggregator
        if chosen.name != "mean" and self.client.weighting != "uniform":
            raise ValueError(
                f"client.weighting={self.client.weighting} is set but "
                f"aggregator.name={chosen.name} counts every client alike. Remove it or choose "
                "mean."
            )
        if (
            chosen.name == "krum"
            and min(self.cohort.size, self.cohort.min_reports) <= 2 * chosen.byzantine + 2
        ):
            raise ValueError(
                f"aggregator.name=krum with byzantine={chosen.byzantine}: expected more than "
                f"{2 * chosen.byzantine + 2} reports, found "
                f"cohort.min_reports={self.cohort.min_reports} of cohort.size={self.cohort.size}. "
                "Raise cohort.min_reports or lower byzantine."
            )
        if self.runtime.debug and chosen != MeanAggregator():
            raise ValueError(
                "runtime.debug=True takes the plain mean, found another. Remove the settings of "
                "aggregator, or runtime.debug."
            )

    def _refuse_what_the_algorithm_ignores(self) -> None:
        named = ALGORITHMS.get(self.algorithm.name)
        if named is None:
            return
        judge = next(
            (
                f"aggregator.{key}={value}"
                for key, value in self.aggregator
                if value == "krum" or (key in ("clipping", "zeroing") and value)
            ),
            None,
        )
        if named.sends_more and judge:
            raise ValueError(
                f"{judge} judges a client by the size of what it sends, but with "
                f"algorithm.name={self.algorithm.name} each sends {named.sends_more} beside its "
                "update, which would decide. Choose aggregator.name=median or trimmed_mean, "
                "which look at each coordinate alone, or another algorithm."
            )
        for key, value in flatten(self).items():
            if value == known_settings()[key].default or not named.ignored(key):
                continue
            readers = [name for name, entry in ALGORITHMS.items() if not entry.ignored(key)]
            raise ValueError(
                f"{key}={value} is set but algorithm.name={self.algorithm.name} ignores it: "
                f"{named.why_ignored(key)}. Remove it or choose algorithm.name={readers[0]}."
            )


@cache
def known_settings() -> dict[str, FieldInfo]:
    """Return every setting that a params file may hold, by dotted key."""
    settings: dict[str, FieldInfo] = {}
    for section, field in Config.model_fields.items():
        if field.annotation is int:
            settings[section] = field
            continue
        for name, member in fields_of(field.annotation).items():
            settings[f"{section}.{name}"] = member
    return settings


OPTIONS = ("data.options", "task.options", "model.options", "algorithm.options")
"""Settings that hold settings of the user's own, `model.options.width`."""


def is_option(key: str) -> bool:
    """Return whether a dotted key is that of a setting of the user's own.

    >>> is_option("model.options.width"), is_option("model.options")
    (True, False)
    """
    section, _, name = key.rpartition(".")
    return section in OPTIONS and name.isidentifier()


def expand_options(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by dotted key with those of the user's own as keys like all others.

    >>> expand_options({"seed": 1, "model.options": {"width": 8}, "data.options": {}})
    {'seed': 1, 'model.options.width': 8}
    """
    expanded: dict[str, Any] = {}
    for key, value in flat.items():
        if key in OPTIONS:
            expanded |= {f"{key}.{name}": option for name, option in value.items()}
        else:
            expanded[key] = value
    return expanded


def flatten(config: Config) -> dict[str, Any]:
    """Return all settings by dotted key, in the order of the schema: `{"seed": 1, ...,
    "data.source": "mnist5k", ...}`. One that the choices of `config` do not read has its default.
    """
    flat: dict[str, Any] = {}
    for key, field in known_settings().items():
        section, _, name = key.partition(".")
        settings = getattr(config, section)
        value = getattr(settings, name, field.default) if name else settings
        if isinstance(value, list):
            value = [item.model_dump() if isinstance(item, Section) else item for item in value]
        flat[key] = value
    return flat
