"""The settings of a study, and its file: arms, conditions and seeds. docs/study.md describes it for
users.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from fedpipe.config.base import Name, PositiveInt, Section
from fedpipe.config.load import explain, known_keys, nearest, read_params
from fedpipe.config.sweep import SweepName
from fedpipe.errors import ConfigError

Settings = dict[Name, Any]
"""Values by dotted key."""

_SEEDS = {"data": "data.seed", "training": "seed"}


class StudyConfig(Section):
    """All settings of one study."""

    name: SweepName | None = Field(
        None,
        description="Name of the study and of its folder; `null` is the file's, without its "
        "ending.",
    )
    arms: Annotated[dict[SweepName, Settings], Field(min_length=1)] = Field(
        description="The methods that are compared: for each name its settings, by dotted key, "
        "laid over the params file."
    )
    conditions: dict[Name, Annotated[list[Any], Field(min_length=1)]] = Field(
        {},
        description="Settings that are crossed: each dotted key with its values; all arms meet all "
        "of them.",
    )
    seeds: PositiveInt | Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = Field(
        10, description="Number of seeds, 1 and up, or a list of them."
    )
    fixed: list[Literal["data", "training"]] = Field(
        [],
        max_length=1,
        description="What has the same seed in all runs: `data` (partition and splits) or "
        "`training` (cohorts, initial weights, shuffles). The other follows the study's seeds.",
    )
    metric: Name | None = Field(
        None,
        description="What is compared, such as `test/accuracy` or "
        "`participating/accuracy_worst_decile`: of the round that validation chose, else the "
        "last. `null`: the test metric that chooses (`task.choose_by`).",
    )
    contrasts: Name = Field(
        "all",
        description="Which arms are compared: `all` pairs, or the name of one arm with each other.",
    )
    target: float | None = Field(
        None,
        description="A value of the metric: rounds, bytes and seconds until a round reaches it are "
        "given.",
    )
    params: Name = Field(
        "params.yaml", description="Params file under all arms, relative to the project."
    )
    overrides: list[str] = Field([], description="Settings that override it, such as `rounds=50`.")
    max_parallel: PositiveInt | None = Field(
        None, description="Runs at a time; `null`: as many as cores and memory allow."
    )
    cores_per_run: PositiveInt = Field(1, description="Cores that a run uses.")
    memory_per_run_mb: Annotated[int, Field(ge=64)] = Field(
        1200, description="Memory that a run is expected to need, in MB."
    )

    @model_validator(mode="after")
    def _refuse_what_cannot_be(self) -> "StudyConfig":
        for place, settings in (
            ("conditions", self.conditions),
            *((f"arms: {arm}", settings) for arm, settings in self.arms.items()),
        ):
            for key in settings:
                if key not in known_keys() and ".options." not in key:
                    raise ValueError(f"{place}: unknown setting '{key}'{nearest(key)}")
                if key in _SEEDS.values():
                    raise ValueError(
                        f"{place}: '{key}' follows the seeds of the study. Remove it, or name what "
                        "keeps its seed under fixed."
                    )
                if place != "conditions" and key in self.conditions:
                    raise ValueError(
                        f"{place}: '{key}' is a condition, which an arm cannot override. Remove "
                        "one of the two."
                    )
        if self.contrasts != "all" and self.contrasts not in self.arms:
            raise ValueError(
                f"contrasts: expected all or one of the arms {', '.join(self.arms)}, found "
                f"'{self.contrasts}'"
            )
        if len(set(self.seed_list)) < len(self.seed_list):
            raise ValueError("seeds: expected each seed once, found one twice")
        if len(self.arms) > 1 and len(self.seed_list) < 3:
            raise ValueError(
                f"seeds: a test needs three or more, found {len(self.seed_list)}. Raise seeds."
            )
        return self

    @property
    def seed_list(self) -> list[int]:
        """Return the seeds."""
        return self.seeds if isinstance(self.seeds, list) else list(range(1, self.seeds + 1))

    def seed_settings(self, seed: int) -> Settings:
        """Return the settings that a seed of the study sets."""
        return {key: seed for side, key in _SEEDS.items() if side not in self.fixed}

    def pairs(self) -> list[tuple[str, str]]:
        """Return the arms that are compared, as (a, b)."""
        names = list(self.arms)
        if self.contrasts != "all":
            return [(name, self.contrasts) for name in names if name != self.contrasts]
        return [(a, b) for place, a in enumerate(names) for b in names[place + 1 :]]


def load_study(path: Path) -> StudyConfig:
    """Return the study in the YAML file at `path`, with its name.

    Raises:
        ConfigError: the file cannot be read, a key is unknown or a value does not fit.
    """
    values = read_params(
        path, "no such study file. Name one, as in `fedpipe study study.yaml` (docs/study.md)."
    )
    try:
        return StudyConfig.model_validate({"name": path.stem, **values})
    except ValidationError as err:
        problems = dict.fromkeys(map(explain_study, err.errors()))
        raise ConfigError(f"{path.name}: {'; '.join(problems)}") from err


def explain_study(error: Any) -> str:
    """Return one problem that pydantic found, in words."""
    key = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"unknown key '{key}'. Known keys: {', '.join(StudyConfig.model_fields)}"
    if error["type"] == "missing":
        return f"expected '{key}', found none (docs/study.md)"
    return explain(error)
