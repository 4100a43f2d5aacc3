"""The space of a sweep: of each searched setting its values, when it applies, and which points a
grid has.
"""

import itertools
import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Union

from pydantic import BeforeValidator, Field, field_validator, model_validator

from fedpipe.config.base import Section
from fedpipe.config.schema import is_option, known_settings

Value = bool | int | float | str | None
Point = dict[str, Value]
"""Values of a trial by dotted key, in the order of the space; a setting that does not apply to the
trial is not in it.
"""


def _one_value(value: Any) -> Any:
    if not isinstance(value, bool | int | float | str | None):
        raise ValueError(
            f"expected numbers, texts, true, false or null as choices, found {value!r}"
        )
    return value


def _dimension(values: Any) -> Any:
    if isinstance(values, list):
        raise ValueError(f"expected a mapping such as {{choices: {as_yaml(values)}}}, found a list")
    if not isinstance(values, Mapping | Dimension):
        raise ValueError(
            f"expected a mapping such as {{choices: [{as_yaml(values)}]}} or {{min: 1, max: 3}}, "
            f"found {as_yaml(values)}"
        )
    return values


class Dimension(Section):
    """The values of one setting: a list of choices, or a range. A setting that is a whole number
    has whole numbers in its range.
    """

    choices: list[Annotated[Value, BeforeValidator(_one_value)]] | None = Field(
        None, description="The values, each at most once."
    )
    min: float | None = Field(None, allow_inf_nan=False, description="Least value of a range.")
    max: float | None = Field(
        None, allow_inf_nan=False, description="Greatest value of a range, included."
    )
    log: bool = Field(
        False, description="Draw from the range evenly by ratio, not by difference; `min` above 0."
    )
    points: Annotated[int, Field(ge=2, le=1000)] | None = Field(
        None,
        description="Values that `search: grid` takes of a range, evenly spaced, ends included; "
        "`null`: each whole number.",
    )
    when: dict[str, list[Value]] = Field(
        default_factory=dict,
        description="Other settings of the space, each with the value or values at which this one "
        "applies; trials in which one has another value keep the setting as the params file "
        "has it. Empty: always.",
    )

    @field_validator("when", mode="before")
    @classmethod
    def _one_value_or_several(cls, when: Any) -> Any:
        if not isinstance(when, Mapping):
            raise ValueError(
                "when: expected a setting of the space and its values, such as "
                f"{{client.optimizer: momentum}}, found {when!r}"
            )
        lists = {
            key: list(values) if isinstance(values, list) else [values]
            for key, values in when.items()
        }
        for key, values in lists.items():
            if not values or not all(
                isinstance(value, bool | int | float | str | None) for value in values
            ):
                raise ValueError(
                    f"when: expected a value or a list of values for '{key}', found {when[key]!r}"
                )
        return lists

    @model_validator(mode="after")
    def _one_form(self) -> "Dimension":
        if self.choices is not None:
            if (self.min, self.max, self.points) != (None, None, None) or self.log:
                raise ValueError("expected choices, or min and max, found both")
            if not self.choices:
                raise ValueError("expected at least one choice, found none")
            if len(set(map(_identity, self.choices))) < len(self.choices):
                raise ValueError(f"expected each choice once, found {as_yaml(self.choices)}")
        elif self.min is None or self.max is None:
            raise ValueError("expected choices, or min and max")
        elif not self.min < self.max:
            raise ValueError(
                f"expected min below max, found {self.min:g} and {self.max:g}; a single value is "
                f"choices: [{self.min:g}]"
            )
        elif self.log and self.min <= 0:
            raise ValueError(f"expected min above 0 with log, found {self.min:g}")
        return self


SpaceValue = Annotated[Dimension, BeforeValidator(_dimension)]


def _identity(value: Value) -> tuple[bool, Any]:
    """Return what is the same for equal values alone: 1 and 1.0 are, 1 and true are not."""
    return isinstance(value, bool), value


def as_yaml(value: Any) -> str:
    """Return a value, or a list of values, as YAML writes it in a line."""
    if isinstance(value, list):
        return f"[{', '.join(map(as_yaml, value))}]"
    if isinstance(value, bool | None):
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)


def problem_of_conditions(space: Mapping[str, Dimension]) -> str | None:
    """Return what is wrong with the conditions of a space, None if nothing: each names another
    setting of the space and values that it can have, and none depends on itself.
    """
    for key, dimension in space.items():
        for cause, values in dimension.when.items():
            if cause == key:
                return (
                    f"space: '{key}': when names the setting itself. Name another one of the space."
                )
            if cause not in space:
                return (
                    f"space: '{key}': when names '{cause}', which is not in the space: all "
                    "trials have one value of it. Add it to the space with its choices, or "
                    "remove it from when."
                )
            for value in values:
                if not _can_be(cause, space[cause], value):
                    return (
                        f"space: '{key}': when expects {cause}={as_yaml(value)}, which no trial "
                        f"has. Add it to '{cause}', or correct when."
                    )
    order = ordered(space)
    if len(order) < len(space):
        loop = ", ".join(f"'{key}'" for key in space if key not in order)
        return f"space: the conditions of {loop} depend on one another. Remove one."
    return None


def _can_be(key: str, dimension: Dimension, value: Value) -> bool:
    if dimension.choices is not None:
        return _identity(value) in set(map(_identity, dimension.choices))
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or dimension.min is None
        or dimension.max is None
    ):
        return False
    return (
        number_of(key) is int
        and float(value).is_integer()
        and dimension.min <= value <= dimension.max
    )


def ordered(space: Mapping[str, Dimension]) -> list[str]:
    """Return the settings in the order in which they are drawn: each after those that its condition
    names, else as they stand.
    """
    order: list[str] = []
    while True:
        ready = [key for key in space if key not in order and set(space[key].when) <= set(order)]
        if not ready:
            return order
        order.append(ready[0])


def applies(dimension: Dimension, point: Mapping[str, Value]) -> bool:
    """Return whether a setting applies to a trial with the values of `point`; not where a setting
    that its condition names does not.

    >>> momentum = Dimension(min=0.5, max=0.9, when={"client.optimizer": "momentum"})
    >>> [applies(momentum, {"client.optimizer": name}) for name in ("momentum", "sgd")]
    [True, False]
    >>> applies(momentum, {})
    False
    """
    return all(
        key in point and _identity(point[key]) in set(map(_identity, values))
        for key, values in dimension.when.items()
    )


def walk(space: Mapping[str, Dimension], value_of: Callable[[str], Value]) -> Point:
    """Return a point: of each setting that applies, what `value_of` says, asked in an order in
    which conditions are known.
    """
    point: Point = {}
    for key in ordered(space):
        if applies(space[key], point):
            point[key] = value_of(key)
    return {key: point[key] for key in space if key in point}


def grid_points(
    space: Mapping[str, Dimension], values_of: Callable[[str], Sequence[Value]] | None = None
) -> Iterator[Point]:
    """Yield each combination of the settings that apply, once.

    Args:
        space: the settings.
        values_of: the values of a setting; None: those that a grid takes.
    """
    values_of = values_of or (lambda key: grid_values(key, space[key]))
    order = ordered(space)

    def points(index: int, point: Point) -> Iterator[Point]:
        if index == len(order):
            yield {key: point[key] for key in space if key in point}
            return
        key = order[index]
        if not applies(space[key], point):
            yield from points(index + 1, point)
            return
        for value in values_of(key):
            yield from points(index + 1, {**point, key: value})

    yield from points(0, {})


def count_points(space: Mapping[str, Dimension], most: int) -> int:
    """Return the number of combinations of a grid; `most` + 1 if there are more than `most`."""
    if not any(dimension.when for dimension in space.values()):
        return min(
            math.prod(len(grid_values(key, dimension)) for key, dimension in space.items()),
            most + 1,
        )
    return sum(1 for _ in itertools.islice(grid_points(space), most + 1))


def grid_values(key: str, dimension: Dimension) -> list[Value]:
    """Return the values of a setting that a grid takes, in order.

    >>> grid_values("client.learning_rate", Dimension(min=0.01, max=1.0, log=True, points=3))
    [0.01, 0.1, 1.0]
    >>> grid_values("client.epochs", Dimension(min=1, max=3))
    [1, 2, 3]
    """
    if dimension.choices is not None or dimension.min is None or dimension.max is None:
        return list(dimension.choices or ())
    whole = number_of(key) is int
    if dimension.points is None:
        return list(range(int(dimension.min), int(dimension.max) + 1))
    scale = math.log10 if dimension.log else float
    low = scale(dimension.min)
    high = scale(dimension.max)
    values = [dimension.min]
    steps = dimension.points - 1
    for step in range(1, steps):
        value = low + (high - low) * step / steps
        values.append(float(f"{10**value if dimension.log else value:.12g}"))
    values.append(dimension.max)
    if whole:
        return list(dict.fromkeys(map(round, values)))
    return [*values]


def ends_of(key: str, dimension: Dimension) -> list[Value]:
    """Return the choices of a setting, or the ends of its range."""
    if dimension.choices is not None or dimension.min is None or dimension.max is None:
        return list(dimension.choices or ())
    if number_of(key) is int:
        return [int(dimension.min), int(dimension.max)]
    return [dimension.min, dimension.max]


def number_of(key: str) -> type[int] | type[float] | None:
    """Return whether a setting is a number, and which kind; a range of one of the user's own has
    floats: whole numbers of it are `choices`.
    """
    if is_option(key):
        return float
    kinds = set(_kinds(known_settings()[key].annotation))
    if float in kinds:
        return float
    return int if int in kinds else None


def _kinds(annotation: Any) -> Iterator[Any]:
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        yield from _kinds(typing.get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for member in typing.get_args(annotation):
            yield from _kinds(member)
    else:
        yield annotation
