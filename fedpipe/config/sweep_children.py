"""From a sweep's base settings and a point of its space to a child's settings, and what is refused before any child starts."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fedpipe.config.load import parse_config
from fedpipe.config.schema import Config
from fedpipe.config.sweep import SweepConfig
from fedpipe.config.sweep_space import Dimension, Value, grid_values, number_of
from fedpipe.errors import ConfigError


def child_config(base: Config, point: Mapping[str, Value], where: str) -> Config:
    """Return the settings of the child at a point of the space. Raises ConfigError, which says `where`, if they do not go together."""
    values: dict[str, Any] = base.model_dump(mode="json")
    for key, value in point.items():
        *groups, last = key.split(".")
        place = values
        for group in groups:
            place = place[group]
        place[last] = value
    return parse_config(values, where)


def check_space(sweep: SweepConfig, base: Config, where: str) -> None:
    """Raise ConfigError for what no child can be: no validation examples, or ends and choices that the settings refuse.

    A grid is checked at each of its points; else each setting at its ends and choices, the others at their first.
    """
    if not base.validates:
        raise ConfigError(
            f"{where}: metric={sweep.metric} needs validation examples, found data.validation_fraction=0: the test set must not choose. "
            "Add `data.validation_fraction=0.2` to overrides."
        )
    for point in _points_to_check(sweep):
        said = ", ".join(f"{key}={value}" for key, value in point.items())
        child_config(base, point, f"{where}: child with {said}")


def _points_to_check(sweep: SweepConfig) -> Iterator[dict[str, Value]]:
    if sweep.search == "grid":
        listed = [grid_values(key, one) for key, one in sweep.space.items()]
        yield from (dict(zip(sweep.space, values, strict=True)) for values in itertools.product(*listed))
        return
    ends = {key: _ends(key, one) for key, one in sweep.space.items()}
    first = {key: values[0] for key, values in ends.items()}
    yield from ({**first, key: value} for key, values in ends.items() for value in values)


def _ends(key: str, dimension: Dimension) -> Sequence[Value]:
    if dimension.choices is not None or dimension.min is None or dimension.max is None:
        return list(dimension.choices or ())
    return [int(dimension.min), int(dimension.max)] if number_of(key) is int else [dimension.min, dimension.max]
