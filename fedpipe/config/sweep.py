"""A sweep's settings: which settings are tried, how they are searched, and what a trial is judged
by. Knows nothing of runs.
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from fedpipe.config.base import Name, PositiveInt, Section
from fedpipe.config.load import known_keys, nearest, read_params
from fedpipe.config.schema import Config, is_option
from fedpipe.config.sweep_space import (
    Dimension,
    SpaceValue,
    count_points,
    number_of,
    problem_of_conditions,
)
from fedpipe.config.task_metrics import METRICS, is_higher_better, is_keras_metric, top_of
from fedpipe.errors import ConfigError

MAX_TRIALS = 10_000
_NOT_SEARCHED = {
    "data.": "trials would be judged by other examples",
    "task.kind": "trials would be judged by other labels",
    "task.metrics": "trials are judged by one metric",
    "task.choose_by": "trials are judged by one metric",
    "eval.clients": "trials would be judged by other examples",
    "tracking.": "it changes no result",
    "runtime.": "it changes no result, or its last bits alone",
}

_OF_THE_LOSS = (
    "task.loss",
    "task.label_smoothing",
    "task.class_weights",
    "task.gamma",
    "task.delta",
    "task.options",
)

_EXAMPLE = "`client.learning_rate: {min: 0.01, max: 1.0, log: true}`"

SweepName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w.-]{0,59}$")]


class PruningConfig(Section):
    """Ends a trial early whose metric is worse than the median of the finished trials at the same
    round.
    """

    after_children: PositiveInt = Field(4, description="Finished trials before any is pruned.")
    after_rounds: int = Field(0, ge=0, description="Rounds of a trial before it may be pruned.")
    every_rounds: PositiveInt = Field(1, description="Rounds between two looks at a trial.")


class SweepConfig(Section):
    """All settings of one sweep."""

    name: SweepName | None = Field(
        None,
        description="Name of the sweep and of its folder; `null` is the file's, without its "
        "ending.",
    )
    search: Literal["grid", "random", "tpe"] = Field(
        "tpe",
        description="`grid`: every combination; `random`: drawn evenly; `tpe`: Optuna's "
        "tree-structured Parzen estimator, which draws where earlier trials did "
        "well.",
    )
    metric: Name = Field(
        "validation/accuracy",
        description="What trials are judged by, at the round that validation chose: "
        "`validation/accuracy`, `validation/loss` or another metric of the task. Not set: the one "
        "that `task.choose_by` names.",
    )
    direction: Literal["maximize", "minimize"] | None = Field(
        None, description="Which way is better; `null` is the metric's own."
    )
    trials: Annotated[int, Field(ge=1, le=MAX_TRIALS)] | None = Field(
        None,
        description="Number of trials, pruned and failed ones included. Not for `grid`, which "
        "knows it.",
    )
    seed: int = Field(
        1, ge=0, description="Seed of the search; that of the trainings is the params file's."
    )
    pruning: PruningConfig | None = Field(
        None, description="When a trial is ended early; `null` is never."
    )
    max_parallel: PositiveInt | None = Field(
        None, description="Trials at a time; `null`: as many as cores and memory allow."
    )
    cores_per_child: PositiveInt = Field(
        1,
        description="Cores that a trial uses. Where `runtime.groups` is `null`, it becomes this in "
        "trials that compute in groups.",
    )
    memory_per_child_mb: Annotated[int, Field(ge=64)] = Field(
        1200,
        description="Memory that a trial is expected to need, in MB: as many are started as fit "
        "into what is free.",
    )
    params: Name = Field(
        "params.yaml",
        description="Params file under the trials' settings, relative to the project.",
    )
    overrides: list[str] = Field(
        default_factory=list, description="Settings that override it, such as `rounds=50`."
    )
    space: dict[str, SpaceValue] = Field(
        description="Of each setting that is searched, its values, by dotted key."
    )

    @field_validator("space")
    @classmethod
    def _known_settings(cls, space: dict[str, Dimension]) -> dict[str, Dimension]:
        if not space:
            raise ValueError(
                f"space: expected at least one setting, found none. Add one, such as {_EXAMPLE}."
            )
        for key, dimension in space.items():
            if key not in known_keys() and not is_option(key):
                raise ValueError(f"space: unknown setting '{key}'{nearest(key)}")
            for prefix, why in _NOT_SEARCHED.items():
                if key.startswith(prefix):
                    raise ValueError(
                        f"space: expected settings of the training, found '{key}': {why}. Set it "
                        "in overrides."
                    )
            if dimension.choices is None and number_of(key) is None:
                raise ValueError(f"space: '{key}' is no number: expected choices, found a range.")
            if (
                dimension.min is not None
                and number_of(key) is int
                and not (dimension.min.is_integer() and float(dimension.max or 0).is_integer())
            ):
                raise ValueError(
                    f"space: '{key}' is a whole number, found the range {dimension.min} to "
                    f"{dimension.max}."
                )
        problem = problem_of_conditions(space)
        if problem:
            raise ValueError(problem)
        return space

    @model_validator(mode="after")
    def _refuse_what_cannot_be(self) -> "SweepConfig":
        split, _, name = self.metric.partition("/")
        if split != "validation" or not name:
            test = (
                " Test data never choose anything."
                if self.metric.startswith(("test", "final", "best"))
                else ""
            )
            raise ValueError(
                "metric: expected one of validation/accuracy, validation/loss and the other "
                f"metrics of the validation examples, found '{self.metric}'.{test}"
            )
        is_known = name == "loss" or name in METRICS or top_of(name) or is_keras_metric(name)
        if is_known and self.direction not in (None, _direction_of(name)):
            raise ValueError(
                f"direction={self.direction}: {self.metric} is better the other way. Remove "
                "direction."
            )
        other_losses = [key for key in self.space if key in _OF_THE_LOSS]
        if name == "loss" and other_losses:
            raise ValueError(
                f"metric={self.metric}: trials with another {other_losses[0]} have another loss, "
                "which cannot be compared. Choose another metric."
            )
        if self.search == "grid":
            for key, dimension in self.space.items():
                if (
                    dimension.choices is None
                    and dimension.points is None
                    and number_of(key) is not int
                ):
                    raise ValueError(
                        f"space: '{key}': search=grid takes how many values of the range? Set "
                        "points."
                    )
            count = count_points(self.space, MAX_TRIALS)
            if count > MAX_TRIALS:
                raise ValueError(
                    f"search=grid: expected at most {MAX_TRIALS} combinations, found more. "
                    "Choose random or tpe."
                )
            if self.trials is not None:
                raise ValueError(
                    f"trials={self.trials} is set but search=grid runs every combination, here "
                    f"{count}. Remove it or choose random."
                )
        elif self.trials is None:
            raise ValueError(
                f"trials: search={self.search} needs the number of trials. Set trials."
            )
        for key, dimension in self.space.items():
            if dimension.points is not None and self.search != "grid":
                raise ValueError(
                    f"space: '{key}': points={dimension.points} is set but search={self.search} "
                    "ignores it. Remove it."
                )
        return self

    @property
    def better(self) -> str:
        """Return `maximize` or `minimize`."""
        return self.direction or _direction_of(self.metric.partition("/")[2])

    @property
    def trial_count(self) -> int:
        """Return how many trials the sweep has in the end."""
        return self.trials or count_points(self.space, MAX_TRIALS)


def _direction_of(metric: str) -> Literal["maximize", "minimize"]:
    return "maximize" if is_higher_better(metric) else "minimize"


def load_sweep(path: Path) -> SweepConfig:
    """Return the sweep in the YAML file at `path`, with its name.

    Raises:
        ConfigError: the file cannot be read, a key is unknown, a value does not fit, or the metric
            is of the test split.
    """
    values = read_params(
        path, "no such sweep file. Name one, as in `fedpipe sweep sweep.yaml` (docs/sweeps.md)."
    )
    _refuse_what_is_no_sweep(path, values)
    try:
        sweep = SweepConfig.model_validate(values)
        if sweep.name:
            return sweep
        return SweepConfig.model_validate({**values, "name": path.stem})
    except ValidationError as err:
        problems = dict.fromkeys(_explain(error) for error in err.errors())
        raise ConfigError(f"{path.name}: {'; '.join(problems)}") from err


def _refuse_what_is_no_sweep(path: Path, values: Mapping[str, Any]) -> None:
    """Raise ConfigError for a params file, and for a file without a space."""
    settings = [
        key for key in values if key in Config.model_fields and key not in SweepConfig.model_fields
    ]
    if "space" not in values and settings:
        raise ConfigError(
            f"{path.name}: expected a sweep file, found a params file: it has the settings "
            f"{', '.join(settings[:3])} and no space. Name it under `params` in a sweep file "
            f"(docs/sweeps.md), or run it: `fedpipe run --params {path}`."
        )
    if not isinstance(values.get("space"), Mapping):
        space = repr(values.get("space", "no such key")).strip("'")
        raise ConfigError(
            f"{path.name}: space: expected the settings that are searched, found {space}. Add "
            f"one, such as {_EXAMPLE}."
        )
    for key, value in values["space"].items():
        if (
            key in Config.model_fields
            and isinstance(value, Mapping)
            and not set(value) & set(Dimension.model_fields)
        ):
            dotted = f"{key}.{next(iter(value), 'name')}"
            raise ConfigError(
                f"{path.name}: space: expected dotted keys such as '{dotted}', found the section "
                f"'{key}'. Write '{dotted}: ...'."
            )


def _explain(error: Any) -> str:
    key = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        models: dict[int, type[BaseModel]] = {1: SweepConfig, 2: PruningConfig}
        model = models.get(len(error["loc"]), Dimension)
        if len(error["loc"]) == 1 and key in known_keys():
            return (
                f"unknown key '{key}': it is a setting of the training. Search it under space, or "
                f"set it under overrides: [{key}=...]"
            )
        close = difflib.get_close_matches(str(error["loc"][-1]), list(model.model_fields), n=1)
        if close:
            return f"unknown key '{key}'; did you mean '{close[0]}'?"
        return f"unknown key '{key}'. Known keys: {', '.join(model.model_fields)}."
    if error["type"] == "value_error":
        text = str(error["ctx"]["error"])
        if len(error["loc"]) < 2 or error["loc"][0] != "space":
            return text
        return f"space: '{error['loc'][1]}': {text.rstrip('.')}."
    return f"'{key}': {error['msg'][:1].lower() + error['msg'][1:]}, found {error['input']!r}"
