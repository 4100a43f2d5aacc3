"""One setting of a sweep's space: its values, and which of them a grid takes."""

import math
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Union

from pydantic import Field, model_validator

from fedpipe.config.base import Group
from fedpipe.config.schema import Config

Value = bool | int | float | str | None


class Dimension(Group):
    """The values of one setting: a list of choices, or a range. A setting that is a whole number has whole numbers in its range."""

    choices: list[Value] | None = Field(None, min_length=1, description="The values, each at most once.")
    min: float | None = Field(None, allow_inf_nan=False, description="Least value of a range.")
    max: float | None = Field(None, allow_inf_nan=False, description="Greatest value of a range, included.")
    log: bool = Field(False, description="Draw from the range evenly by ratio, not by difference; `min` above 0.")
    points: Annotated[int, Field(ge=2, le=1000)] | None = Field(
        None, description="Values that `search: grid` takes of a range, evenly spaced, ends included; `null`: each whole number."
    )

    @model_validator(mode="after")
    def _one_form(self) -> "Dimension":
        if self.choices is not None:
            if (self.min, self.max, self.points) != (None, None, None) or self.log:
                raise ValueError("expected choices, or min and max, found both")
            if len({repr(value) for value in self.choices}) < len(self.choices):
                raise ValueError(f"expected each choice once, found {self.choices}")
        elif self.min is None or self.max is None:
            raise ValueError("expected choices, or min and max")
        elif not self.min < self.max:
            raise ValueError(f"expected min below max, found {self.min} and {self.max}")
        elif self.log and self.min <= 0:
            raise ValueError(f"expected min above 0 with log, found {self.min}")
        return self


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
    low, high = (math.log10(end) if dimension.log else end for end in (dimension.min, dimension.max))
    inner = [low + (high - low) * i / (dimension.points - 1) for i in range(1, dimension.points - 1)]
    values = [dimension.min, *(float(f"{10**v if dimension.log else v:.12g}") for v in inner), dimension.max]
    return list(dict.fromkeys(round(v) for v in values)) if whole else [float(v) for v in values]


def number_of(key: str) -> type[int] | type[float] | None:
    """Return whether a setting is a number, and which kind."""
    model: Any = Config
    *groups, last = key.split(".")
    for group in groups:
        model = model.model_fields[group].annotation
    kinds = set(_kinds(model.model_fields[last].annotation))
    return float if float in kinds else int if int in kinds else None


def _kinds(annotation: Any) -> Iterator[Any]:
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        yield from _kinds(typing.get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for one in typing.get_args(annotation):
            yield from _kinds(one)
    else:
        yield annotation
