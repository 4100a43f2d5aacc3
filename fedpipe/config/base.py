"""Base model of the sections of settings, strict and frozen, and types of their values."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

Fraction = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(ge=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
OWN_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", re.ASCII)
"""`mypackage.module:function`: something of the user's own."""
OWN = "mypackage.module:function"
"""How anything of the user's own is written where choices are listed."""


class Section(BaseModel):
    """Base of the sections: strict types, no unknown keys, no change after creation."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


def with_default(setting: str, value: str) -> BeforeValidator:
    """Return what lets a section leave out the setting that chooses its variant.

    Args:
        setting: the discriminator, such as `name`.
        value: its default.
    """

    def fill(values: Any) -> Any:
        if isinstance(values, Mapping) and setting not in values:
            return {setting: value, **values}
        return values

    return BeforeValidator(fill)
