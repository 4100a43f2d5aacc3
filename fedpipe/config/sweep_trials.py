"""From the settings under a sweep and a point of its space to a trial's settings, and what is
refused before any trial starts.
"""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fedpipe.config.group_settings import computes_in_groups
from fedpipe.config.ignored_settings import switch_choices, without_ignored
from fedpipe.config.load import (
    explain,
    key_of,
    parse_config,
    read_params,
    set_overrides,
    set_setting,
)
from fedpipe.config.schema import Config
from fedpipe.config.sweep import SweepConfig
from fedpipe.config.sweep_space import (
    Dimension,
    Point,
    Value,
    as_yaml,
    ends_of,
    grid_points,
    ordered,
    walk,
)
from fedpipe.errors import ConfigError

_MOST_POINTS = 512
"""Combinations of ends and choices that are checked before a search that draws; of more, each end
and choice alone.
"""
_IGNORED = re.compile(r"([\w.]+)=([^=]*?) is set but ([\w.]+)=([^\s:;,]+) ")


@dataclass(frozen=True)
class SweepBase:
    """The settings under a sweep's trials. They are judged with a trial's values in them, never
    alone.

    Attributes:
        values: as the params file and the overrides have them, sections within.
        overridden: keys that overrides have set.
        groups: number of groups of trials that compute in groups, where the settings do not say
            it.
        where: the sweep's file, for errors.
        params: the params file, for errors.
        called: what a training is called in errors.
    """

    values: Mapping[str, Any]
    overridden: frozenset[str] = frozenset()
    groups: int | None = None
    where: str = "sweep.yaml"
    params: str = "params.yaml"
    called: str = "trial"


def read_base(
    sweep: SweepConfig, params: Path, where: str, overrides: Sequence[str] = ()
) -> SweepBase:
    """Return the settings under a sweep's trials: the params file, then the sweep's overrides,
    then those of the command line.

    Args:
        sweep: the sweep.
        params: its params file.
        where: the sweep's file, for errors.
        overrides: those of the command line.

    Raises:
        ConfigError: the params file cannot be read; a key is unknown, or a value has the wrong type
            or range, which the error places in the params file, the sweep's file or the command
            line; or an override sets what the space searches.
    """
    values = read_params(params)
    before = deepcopy(values)
    places: dict[str, str] = {}
    for place, texts in ((f"{where}: overrides:", sweep.overrides), ("-S", overrides)):
        for key, text in set_overrides(values, texts, place).items():
            if key in sweep.space:
                raise ConfigError(
                    f"{place} {text} is set but the sweep searches '{key}'. Remove it, or take "
                    f"'{key}' out of the space."
                )
            places[key] = f"{place} {text}"
    switch_choices(values, before, places)
    for error in _errors(without_ignored(values)):
        key = key_of(error)
        # What a whole section or all settings say of each other is judged with a trial's values.
        if error["type"] != "value_error" or "." in key:
            place = next((places[known] for known in places if _is_in(key, known)), params.name)
            raise ConfigError(f"{place}: {explain(error)}")
    return SweepBase(values, frozenset(places), where=where, params=params.name)


def _is_in(key: str, setting: str) -> bool:
    """Return whether a key is that of the setting, or of an item of its list."""
    return f"{key}.".startswith(f"{setting}.")


def _errors(values: Mapping[str, Any]) -> list[Any]:
    try:
        Config.model_validate(values)
    except ValidationError as err:
        return list(err.errors())
    return []


def trial_config(base: SweepBase, point: Mapping[str, Value]) -> Config:
    """Return the settings of the trial at a point of the space.

    A trial that computes in groups, and whose settings do not say in how many, has the sweep's
    number.

    Raises:
        ConfigError: they do not go together; the error names the sweep's file and the trial.
    """
    values: dict[str, Any] = deepcopy(dict(base.values))
    for key, value in point.items():
        set_setting(values, key, value)
    switch_choices(values, base.values, {*point, *base.overridden})
    settings = ", ".join(f"{key}={as_yaml(value)}" for key, value in point.items())
    config = parse_config(values, f"{base.where}: {base.called} with {settings}")
    if (
        base.groups is None
        or config.runtime.set_groups is not None
        or not computes_in_groups(config)
    ):
        return config
    return config.model_copy(
        update={"runtime": config.runtime.model_copy(update={"groups": base.groups})}
    )


def first_trial(sweep: SweepConfig, base: SweepBase) -> Config:
    """Return the settings of a trial: what all trials have in common stands in them. Raises
    ConfigError as `trial_config`.
    """
    return trial_config(base, walk(sweep.space, lambda key: ends_of(key, sweep.space[key])[0]))


def check_space(sweep: SweepConfig, base: SweepBase) -> None:
    """Raise ConfigError for what no trial can be: no validation examples, or ends and choices that
    the settings refuse.

    A grid is checked at each of its points; else all combinations of ends and choices, or, where
    these are many, each of them with the first of the other settings. The error says how to write a
    setting that only some trials read.
    """
    for point in _points_to_check(sweep):
        try:
            config = trial_config(base, point)
        except ConfigError as err:
            raise ConfigError(_with_advice(str(err), sweep, base, point)) from err
        if not config.validates:
            raise ConfigError(
                f"{base.where}: metric={sweep.metric} needs validation examples, found "
                "data.validation_fraction=0: the test set must not choose. Add "
                "`data.validation_fraction=0.2` to overrides."
            )


def _with_advice(message: str, sweep: SweepConfig, base: SweepBase, point: Point) -> str:
    """Return an error of a trial with what helps: where the settings contradict each other whatever
    the trial, or how to write a condition.
    """
    problems = [explain(error) for error in _errors(base.values)]
    if problems and message.endswith("; ".join(problems)):
        return (
            f"{base.where}: the settings under the trials, {base.params} with the overrides: "
            f"{'; '.join(problems)}"
        )
    ignored = _IGNORED.search(message)
    if not ignored:
        return (
            f"{message} A setting that only some trials need is written in the space with `when` "
            "(docs/sweeps.md)."
        )
    key, value, cause, cause_value = ignored.groups()
    if cause not in sweep.space:
        has = f"All trials have {cause}={cause_value}"
        if key in sweep.space:
            return f"{message} {has}: set another in overrides, or take '{key}' out of the space."
        return message
    fitting = [
        choice
        for choice in ends_of(cause, sweep.space[cause])
        if _fits(base, point | {cause: choice})
    ]
    if not fitting:
        return message
    values = as_yaml(fitting)
    if len(fitting) == 1:
        values = as_yaml(fitting[0])
    when = f"when: {{{cause}: {values}}}"
    if key in sweep.space:
        return (
            f"{message} For trials that ignore it, write under space: '{key}: "
            f"{{{_form(sweep.space[key])}, {when}}}' (docs/sweeps.md)."
        )
    return (
        f"{message} For some trials alone, move it to space: '{key}: {{choices: [{value}], "
        f"{when}}}' (docs/sweeps.md)."
    )


def _fits(base: SweepBase, point: Mapping[str, Value]) -> bool:
    try:
        trial_config(base, point)
    except ConfigError:
        return False
    return True


def _form(dimension: Dimension) -> str:
    """Return the values of a dimension as YAML has them in a line."""
    if dimension.choices is not None:
        return f"choices: {as_yaml(dimension.choices)}"
    log = ", log: true" if dimension.log else ""
    points = f", points: {dimension.points}" if dimension.points else ""
    return f"min: {dimension.min:g}, max: {dimension.max:g}{log}{points}"


def _points_to_check(sweep: SweepConfig) -> Iterator[Point]:
    space = sweep.space
    if sweep.search == "grid":
        yield from grid_points(space)
        return
    ends = {key: ends_of(key, dimension) for key, dimension in space.items()}
    points = list(itertools.islice(grid_points(space, ends.__getitem__), _MOST_POINTS + 1))
    if len(points) <= _MOST_POINTS:
        yield from points
        return
    for key, values in ends.items():
        needed = _needed(space, key)
        for value in values:
            chosen = {name: values[0] for name, values in ends.items()} | needed | {key: value}
            yield walk(space, chosen.__getitem__)


def _needed(space: Mapping[str, Dimension], key: str) -> dict[str, Value]:
    """Return values of other settings at which a setting applies."""
    needed: dict[str, Value] = {}
    for name in reversed(ordered(space)):
        if name == key or name in needed:
            needed |= {cause: values[0] for cause, values in space[name].when.items()}
    return needed
