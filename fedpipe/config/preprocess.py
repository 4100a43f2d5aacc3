"""The settings of the steps in `data.preprocess`; docs/preprocess.md describes each for users."""

import datetime
import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    field_validator,
    model_serializer,
    model_validator,
)

from fedpipe.config.base import OWN_FUNCTION, Name, PositiveInt, Section

ColumnNames = Annotated[list[Name], Field(min_length=1)]
Number = Annotated[float, Field(allow_inf_nan=False)]
PositiveNumber = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Numbers = Annotated[list[Number], Field(min_length=1)]
PositiveNumbers = Annotated[list[PositiveNumber], Field(min_length=1)]
Per = Literal["all", "client"]


class StepSettings(Section):
    """What all steps have in common; a step is written with the settings that are not defaults."""

    @model_serializer(mode="wrap")
    def _without_defaults(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        return {
            key: value
            for key, value in serialize(self).items()
            if key == "name"
            or getattr(self, key) != fields[key].get_default(call_default_factory=True)
        }

    @property
    def fitted(self) -> bool:
        """Return whether figures of this step are computed from the examples of several clients."""
        return False


class ScaleSettings(StepSettings):
    """What the steps that shift and scale numbers have in common.

    Attributes:
        columns: names or patterns of the columns; None: all columns of numbers.
        per: `all`: one scale for all clients; `client`: each client's own.
    """

    columns: ColumnNames | None = None
    per: Per = "all"

    def _constants(self) -> dict[str, Any]:
        """Return the figures that the user may give, by their names."""
        raise NotImplementedError

    @property
    def fitted(self) -> bool:
        """Return whether the figures come from all clients' examples."""
        return self.per == "all" and None in self._constants().values()

    @model_validator(mode="after")
    def _constants_together(self) -> "ScaleSettings":
        constants = self._constants()
        given = [key for key, value in constants.items() if value is not None]
        names = " and ".join(constants)
        name = getattr(self, "name", "")
        if given and len(given) < len(constants):
            raise ValueError(
                f"data.preprocess, step {name}: expected {names}, found {given[0]} alone. Give "
                "both or none."
            )
        if given and self.per == "client":
            raise ValueError(
                f"data.preprocess, step {name}: {names} are set, but per=client computes each "
                "client's own. Remove one of them."
            )
        lengths = {len(constants[key]) for key in given}
        if len(lengths) > 1:
            raise ValueError(
                f"data.preprocess, step {name}: expected as many numbers in {names}, found "
                f"{sorted(lengths)}. Correct them."
            )
        return self


class StandardizeSettings(ScaleSettings):
    """(x - mean) / std."""

    name: Literal["standardize"]
    mean: Numbers | None = None
    std: PositiveNumbers | None = None

    def _constants(self) -> dict[str, Any]:
        return {"mean": self.mean, "std": self.std}


class MinMaxSettings(ScaleSettings):
    """(x - min) / (max - min)."""

    name: Literal["min_max"]
    min: Numbers | None = None
    max: Numbers | None = None

    def _constants(self) -> dict[str, Any]:
        return {"min": self.min, "max": self.max}

    @model_validator(mode="after")
    def _ordered(self) -> "MinMaxSettings":
        for low, high in zip(self.min or (), self.max or (), strict=False):
            if low >= high:
                raise ValueError(
                    f"data.preprocess, step min_max: expected min below max, found {low:g} and "
                    f"{high:g}. Correct them."
                )
        return self


class RobustSettings(ScaleSettings):
    """(x - median) / (upper quartile - lower quartile)."""

    name: Literal["robust"]
    median: Numbers | None = None
    range: PositiveNumbers | None = None

    def _constants(self) -> dict[str, Any]:
        return {"median": self.median, "range": self.range}


class ClipSettings(StepSettings):
    """Numbers below `low` become `low`, numbers above `high` become `high`."""

    name: Literal["clip"]
    low: Number
    high: Number
    columns: ColumnNames | None = None

    @model_validator(mode="after")
    def _ordered(self) -> "ClipSettings":
        if self.low >= self.high:
            raise ValueError(
                f"data.preprocess, step clip: expected low below high, found {self.low:g} and "
                f"{self.high:g}. Correct them."
            )
        return self


class MissingSettings(StepSettings):
    """What becomes of empty cells.

    Attributes:
        by: `drop`: the rows are left out; `constant`: `value`; `mean`: the column's mean;
            `indicator`: the mean, and a column that is 1 where the cell was empty.
        columns: names or patterns; None: all columns of features.
        value: of `constant`; a text for columns of texts.
    """

    name: Literal["missing"]
    by: Literal["drop", "constant", "mean", "indicator"] = "mean"
    columns: ColumnNames | None = None
    value: Number | Name | None = None

    @property
    def fitted(self) -> bool:
        """Return whether a mean is computed."""
        return self.by in ("mean", "indicator")

    @model_validator(mode="after")
    def _value_of_constant(self) -> "MissingSettings":
        if (self.by == "constant") != (self.value is not None):
            problem = "needs value" if self.by == "constant" else "ignores value"
            raise ValueError(
                f"data.preprocess, step missing: by={self.by} {problem}. Write {{name: missing, "
                "by: constant, value: 0}, or another `by` without value."
            )
        return self


class _CategorySettings(StepSettings):
    """What the steps for columns of texts have in common.

    Attributes:
        columns: names or patterns; None: all columns that hold texts.
        categories: of each column by its name, in their order; None: those of the training examples
            of participating clients, sorted.
        max_categories: of a column; more are refused.
    """

    columns: ColumnNames | None = None
    categories: dict[Name, Annotated[list[str], Field(min_length=1)]] | None = None
    max_categories: PositiveInt = 1000

    @property
    def fitted(self) -> bool:
        """Return whether the categories come from the examples."""
        return self.categories is None


class OneHotSettings(_CategorySettings):
    """A column of 0 and 1 for each category; an unknown text is 0 in all of them."""

    name: Literal["one_hot"]


class OrdinalSettings(_CategorySettings):
    """The number of the category from 0; an unknown text is -1."""

    name: Literal["ordinal"]


class DatesSettings(StepSettings):
    """Dates as days since a day.

    Attributes:
        columns: names or patterns.
        since: the day that is 0, as `YYYY-MM-DD`.
        format: of the dates, as in Python's `strptime`; None: ISO 8601.
    """

    name: Literal["dates"]
    columns: ColumnNames
    since: str = "1970-01-01"
    format: Name | None = None

    @field_validator("since")
    @classmethod
    def _iso_day(cls, since: str) -> str:
        try:
            datetime.date.fromisoformat(since)
        except ValueError as err:
            raise ValueError(
                f"data.preprocess, step dates: expected since as YYYY-MM-DD, found {since!r}."
            ) from err
        return since


class ChooseSettings(StepSettings):
    """Keeps the columns that it names, and leaves out all others."""

    name: Literal["choose"]
    columns: ColumnNames


class DropSettings(StepSettings):
    """Leaves out the columns that it names."""

    name: Literal["drop"]
    columns: ColumnNames


ImageSize = Annotated[list[PositiveInt], Field(min_length=2, max_length=2)]


class ResizeSettings(StepSettings):
    """Images in another size, `[height, width]`."""

    name: Literal["resize"]
    size: ImageSize


class CropSettings(StepSettings):
    """The middle of each image, `[height, width]`."""

    name: Literal["crop"]
    size: ImageSize


class GreySettings(StepSettings):
    """Colour images in grey."""

    name: Literal["grey"]


class NormalizeSettings(ScaleSettings):
    """(x - mean) / std of each channel of images."""

    name: Literal["normalize"]
    columns: None = None
    per: Literal["all"] = "all"
    mean: Numbers | None = None
    std: PositiveNumbers | None = None

    def _constants(self) -> dict[str, Any]:
        return {"mean": self.mean, "std": self.std}


class TokenizeSettings(StepSettings):
    """Texts, the one feature, as tokens.

    Attributes:
        unit: what a token is.
        lower: put texts into lower case first.
        size: entries of a vocabulary that is fitted, the most frequent ones.
        length: tokens of an example, longer ones are cut; None: of the longest training text of a
            participating client.
        vocabulary: characters or words; None: those of the training examples of participating
            clients.
    """

    name: Literal["tokenize"]
    unit: Literal["bytes", "characters", "words"] = "words"
    lower: bool = False
    size: PositiveInt = 10_000
    length: PositiveInt | None = None
    vocabulary: Annotated[list[str], Field(min_length=1)] | None = None

    @property
    def fits_vocabulary(self) -> bool:
        """Return whether the vocabulary comes from the examples."""
        return self.unit != "bytes" and self.vocabulary is None

    @property
    def fitted(self) -> bool:
        """Return whether the vocabulary or the length comes from the examples."""
        return self.fits_vocabulary or self.length is None

    @model_validator(mode="after")
    def _vocabulary_of_unit(self) -> "TokenizeSettings":
        if self.unit == "bytes" and self.vocabulary is not None:
            raise ValueError(
                "data.preprocess, step tokenize: unit=bytes ignores vocabulary. Remove one of them."
            )
        if self.vocabulary is not None and len(set(self.vocabulary)) < len(self.vocabulary):
            raise ValueError(
                "data.preprocess, step tokenize: expected each entry of vocabulary once. Correct "
                "it."
            )
        return self


class OwnStepSettings(StepSettings):
    """A step of the user's own.

    Attributes:
        name: `mypackage.module:function`; called with `options`, it returns an object with `fit`
            and `apply`.
        options: arguments of the function.
    """

    name: Annotated[str, Field(pattern=OWN_FUNCTION.pattern)]
    options: dict[str, Any] = Field(default_factory=dict)

    @property
    def fitted(self) -> bool:
        """Return that its `fit` sees the examples."""
        return True


_NAMED: dict[str, type[StepSettings]] = {
    "standardize": StandardizeSettings,
    "min_max": MinMaxSettings,
    "robust": RobustSettings,
    "clip": ClipSettings,
    "missing": MissingSettings,
    "one_hot": OneHotSettings,
    "ordinal": OrdinalSettings,
    "dates": DatesSettings,
    "choose": ChooseSettings,
    "drop": DropSettings,
    "resize": ResizeSettings,
    "crop": CropSettings,
    "grey": GreySettings,
    "normalize": NormalizeSettings,
    "tokenize": TokenizeSettings,
}
STEP_NAMES = tuple(_NAMED)


def _known(step: Any) -> Any:
    if isinstance(step, StepSettings):
        return step
    name = step.get("name") if isinstance(step, Mapping) else None
    if not isinstance(name, str):
        raise ValueError(
            "data.preprocess: expected steps such as {name: standardize}, found "
            f"{step!r:.80}. Write a list of them."
        )
    if name in _NAMED or OWN_FUNCTION.fullmatch(name):
        return step
    close = difflib.get_close_matches(name.lower().replace("-", "_"), STEP_NAMES, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]}?" if close else ""
    raise ValueError(
        f"data.preprocess: expected a step among {', '.join(STEP_NAMES)}, or "
        f"mypackage.module:function, found {name!r}.{hint}"
    )


def _tag(step: Any) -> str:
    name = step.get("name") if isinstance(step, Mapping) else getattr(step, "name", None)
    if isinstance(name, str) and name in _NAMED:
        return name
    return "own"


PreprocessStep = Annotated[
    Annotated[StandardizeSettings, Tag("standardize")]
    | Annotated[MinMaxSettings, Tag("min_max")]
    | Annotated[RobustSettings, Tag("robust")]
    | Annotated[ClipSettings, Tag("clip")]
    | Annotated[MissingSettings, Tag("missing")]
    | Annotated[OneHotSettings, Tag("one_hot")]
    | Annotated[OrdinalSettings, Tag("ordinal")]
    | Annotated[DatesSettings, Tag("dates")]
    | Annotated[ChooseSettings, Tag("choose")]
    | Annotated[DropSettings, Tag("drop")]
    | Annotated[ResizeSettings, Tag("resize")]
    | Annotated[CropSettings, Tag("crop")]
    | Annotated[GreySettings, Tag("grey")]
    | Annotated[NormalizeSettings, Tag("normalize")]
    | Annotated[TokenizeSettings, Tag("tokenize")]
    | Annotated[OwnStepSettings, Tag("own")],
    Discriminator(_tag),
    BeforeValidator(_known),
]
"""One step of `data.preprocess`."""


def problem_of_private(steps: list[PreprocessStep]) -> str | None:
    """Return which step of a private run releases figures that epsilon does not cover; None if no
    step does.
    """
    for step in steps:
        if step.fitted:
            return (
                f"data.preprocess: the figures of step {step.name} are computed from all clients' "
                "examples and epsilon does not cover them. Give them as constants, or use "
                "per=client where the step has it, or set privacy.mechanism=none."
            )
    return None
