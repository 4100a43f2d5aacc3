"""Fitted steps: what a manifest and a model keep of each, and how it changes examples.

Every step is a function of the example alone and of the figures that were fitted, so that what
training saw and what a later example becomes cannot differ. Arithmetic is float32, as in the graph
of an exported model.
"""

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from fedpipe.data.array_types import Array
from fedpipe.data.preprocess.base import FittedStep as FittedStep
from fedpipe.data.preprocess.examples import Examples
from fedpipe.data.preprocess.image_steps import Cropped, Grey, Normalized, Resized
from fedpipe.data.preprocess.token_steps import Tokenized
from fedpipe.errors import ConfigError, DataError, shorten
from fedpipe.system.user_code import import_own, own_code
from fedpipe.system.user_options import OptionsReader, read_options

_UNKNOWN = -1
_FLOATS = Annotated[float, Field(allow_inf_nan=False)]


class Scaled(FittedStep):
    """(x - shift) / scale.

    Attributes:
        name: the step.
        per: `client`: each client's own figures, which are not kept.
        columns: names; empty: all values of an example.
        shift, scale: of each column or value; empty with `per: client`.
    """

    name: Literal["standardize", "min_max", "robust"]
    per: Literal["all", "client"] = "all"
    columns: tuple[str, ...] = ()
    shift: tuple[_FLOATS, ...] = ()
    scale: tuple[_FLOATS, ...] = ()

    def selected(self, examples: Examples) -> Array:
        """Return the numbers that are scaled, float32 [n, values]."""
        numbers = examples.numbers()
        if examples.columns:
            return numbers[:, examples.places(self.columns)]
        return numbers.reshape(len(numbers), -1)

    def scaled(self, examples: Examples, shift: Array, scale: Array) -> Examples:
        """Return the examples by these figures, float32 [values] or [n, values]."""
        x = examples.numbers()
        values = (self.selected(examples) - shift) / scale
        if examples.columns:
            x[:, examples.places(self.columns)] = values
        else:
            x = values.reshape(x.shape)
        return examples.with_x(x)

    def apply(self, examples: Examples) -> Examples:
        """Return the examples by the figures of all clients."""
        if self.per == "client":
            raise DataError(
                f"the model's step {self.name} is computed within each client and its figures are "
                "not kept: expected shards, found other files. Train with per=all."
            )
        shift, scale = (np.array(values, np.float32) for values in (self.shift, self.scale))
        return self.scaled(examples, shift, scale)

    def lines(self) -> list[str]:
        """Return shift and scale of the first columns."""
        if self.per == "client":
            return [f"{self.name}: within each client"]
        words = {
            "standardize": ("mean", "std"),
            "min_max": ("min", "max - min"),
            "robust": ("median", "quartiles' range"),
        }[self.name]
        names = self.columns or tuple(f"value {place}" for place in range(len(self.shift)))
        figures = [
            f"{name} {words[0]} {shift:.6g}, {words[1]} {scale:.6g}"
            for name, shift, scale in zip(names, self.shift, self.scale, strict=True)
        ]
        return [f"{self.name}: {_first(figures)}"]


class Clipped(FittedStep):
    """Numbers from `low` to `high`; the nearer of both where they were beyond."""

    name: Literal["clip"]
    low: _FLOATS
    high: _FLOATS
    columns: tuple[str, ...] = ()

    def apply(self, examples: Examples) -> Examples:
        """Return the examples with their numbers in the range."""
        x = examples.numbers()
        limits = (np.float32(self.low), np.float32(self.high))
        if not examples.columns:
            return examples.with_x(np.clip(x, *limits))
        places = examples.places(self.columns)
        x[:, places] = np.clip(x[:, places], *limits)
        return examples.with_x(x)

    def lines(self) -> list[str]:
        """Return the range."""
        return [f"clip: {self.low:g} to {self.high:g}"]


class Filled(FittedStep):
    """Values in the place of empty cells.

    Attributes:
        columns: names of the columns.
        values: of each column, a number, or a text of a column of texts.
        flagged: those of them that get a column `NAME_missing`, 1 where the cell was empty.
    """

    name: Literal["missing"]
    by: Literal["drop", "constant", "mean", "indicator"]
    columns: tuple[str, ...]
    values: tuple[_FLOATS | str, ...]
    flagged: tuple[str, ...] = ()

    def apply(self, examples: Examples) -> Examples:
        """Return the examples without empty cells in these columns."""
        if self.by == "drop":
            return examples
        x = examples.numbers()
        empty = np.isnan(x)
        texts = dict(examples.texts)
        for place, name, value in zip(
            examples.places(self.columns).tolist(), self.columns, self.values, strict=True
        ):
            number = value
            if isinstance(value, str):
                number = len(texts[name])
                texts[name] = [*texts[name], value]
            x[empty[:, place], place] = number
        flags = empty[:, examples.places(self.flagged)].astype(np.float32)
        names = tuple(f"{name}_missing" for name in self.flagged)
        return Examples(np.concatenate([x, flags], axis=1), (*examples.columns, *names), texts)

    def lines(self) -> list[str]:
        """Return the values."""
        if self.by == "drop":
            return [f"missing: rows with an empty cell in {shorten(self.columns, 3)} left out"]
        figures = [
            f"{name} {value if isinstance(value, str) else format(value, '.6g')}"
            for name, value in zip(self.columns, self.values, strict=True)
        ]
        return [f"missing: {_first(figures)}"]


class Categories(FittedStep):
    """Texts as numbers, by the categories of their column.

    Attributes:
        name: `one_hot`: a column `NAME=CATEGORY` of 0 and 1 for each; `ordinal`: the category's
            place.
        categories: of each column.
    """

    name: Literal["one_hot", "ordinal"]
    categories: dict[str, tuple[str, ...]]

    def numbers_of(self, examples: Examples, column: str) -> Array:
        """Return int64 [n], the places of the categories in a column; -1 of an unknown text."""
        place_of = {text: place for place, text in enumerate(self.categories[column])}
        known = [place_of.get(text, _UNKNOWN) for text in examples.texts[column]]
        codes = examples.x[:, examples.places([column])[0]]
        if np.isnan(codes).any():
            raise DataError(
                f"data.preprocess, step {self.name}: expected texts in the column {column}, found "
                "an empty cell. Put {name: missing, by: constant, value: unknown} before it."
            )
        return np.array([*known, _UNKNOWN], np.int64)[codes.astype(np.int64)]

    def apply(self, examples: Examples) -> Examples:
        """Return the examples with numbers in the place of these columns' texts."""
        blocks: list[Array] = []
        names: list[str] = []
        for place, name in enumerate(examples.columns):
            if name not in self.categories:
                blocks.append(examples.x[:, place : place + 1])
                names.append(name)
                continue
            numbers = self.numbers_of(examples, name)[:, None]
            if self.name == "ordinal":
                blocks.append(numbers.astype(np.float32))
                names.append(name)
                continue
            categories = self.categories[name]
            blocks.append((numbers == np.arange(len(categories))).astype(np.float32))
            names.extend(f"{name}={category}" for category in categories)
        texts = {
            name: examples.texts[name] for name in examples.texts if name not in self.categories
        }
        x = np.concatenate(blocks, axis=1).astype(np.float32, copy=False)
        return Examples(x, tuple(names), texts)

    def lines(self) -> list[str]:
        """Return the categories."""
        return [
            f"{self.name}: {column} has {len(texts):,} categories: {shorten(texts, 5)}"
            for column, texts in self.categories.items()
        ]


class Days(FittedStep):
    """Dates as days since a day, float32: to the second within 7 days, to 3 minutes within 87
    years.
    """

    name: Literal["dates"]
    columns: tuple[str, ...]
    since: str
    format: str | None = None

    def apply(self, examples: Examples) -> Examples:
        """Return the examples with numbers in the place of these columns' dates."""
        x = examples.numbers()
        texts = dict(examples.texts)
        for place, name in zip(examples.places(self.columns).tolist(), self.columns, strict=True):
            codes = x[:, place]
            known = ~np.isnan(codes)
            used = np.unique(codes[known]).astype(np.int64)
            days = np.zeros(len(texts[name]), np.float32)
            days[used] = [self._days(name, texts[name][code]) for code in used.tolist()]
            x[known, place] = days[codes[known].astype(np.int64)]
            del texts[name]
        return Examples(x, examples.columns, texts)

    def _days(self, column: str, text: str) -> float:
        try:
            if self.format is None:
                moment = datetime.datetime.fromisoformat(text.strip())
            else:
                moment = datetime.datetime.strptime(text.strip(), self.format)
        except ValueError as err:
            form = self.format or "ISO 8601, such as 2024-12-31"
            raise DataError(
                f"data.preprocess, step dates: expected dates ({form}) in the column {column}, "
                f"found {text[:40]!r}. Correct the cell, or set the step's format."
            ) from err
        utc = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
        first = datetime.datetime.fromisoformat(self.since).replace(tzinfo=datetime.UTC)
        return (utc - first) / datetime.timedelta(days=1)

    def lines(self) -> list[str]:
        """Return the day that is 0."""
        return [f"dates: {shorten(self.columns, 3)} in days since {self.since}"]


class Chosen(FittedStep):
    """Some of the columns."""

    name: Literal["choose", "drop"]
    columns: tuple[str, ...]

    def apply(self, examples: Examples) -> Examples:
        """Return the examples with the columns that stay."""
        return examples.choose(self.columns)

    def lines(self) -> list[str]:
        """Return the columns that stay."""
        return [f"{self.name}: {len(self.columns):,} columns stay: {shorten(self.columns, 5)}"]


class OwnArray(BaseModel):
    """An array that a step of the user's own has fitted."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    dtype: Literal["float32", "float64", "int32", "int64", "bool"]
    shape: tuple[int, ...]
    values: tuple[float | int | bool, ...]

    @classmethod
    def of(cls, array: Array) -> "OwnArray":
        """Return an array's values; its dtype is one of those above."""
        return cls.model_validate(
            {
                "dtype": array.dtype.name,
                "shape": array.shape,
                "values": tuple(array.reshape(-1).tolist()),
            }
        )

    def array(self) -> Array:
        """Return the array."""
        return np.array(self.values, self.dtype).reshape(self.shape)


class OwnFitted(FittedStep):
    """A step of the user's own.

    Attributes:
        name: `mypackage.module:function`.
        options: arguments of the function.
        arrays: what its `fit` returned.
    """

    name: str
    options: dict[str, Any] = Field(default_factory=dict)
    arrays: dict[str, OwnArray] = Field(default_factory=dict)

    def built(self, project: Path | None) -> Any:
        """Return the object that the function makes. Raises DataError if it cannot."""
        return build_own_step(self.name, self.options, project)

    def apply(self, examples: Examples) -> Examples:
        """Return what the step's `apply` makes of the examples."""
        fitted = {name: stored.array() for name, stored in self.arrays.items()}
        step = self.built(None)
        where = f"data.preprocess, step {self.name}"
        with own_code(where, DataError, "calling apply"):
            x = np.asarray(step.apply(examples.x, fitted))
        if x.dtype == np.float64:
            x = x.astype(np.float32)
        if len(x) != len(examples.x) or x.ndim < 2 or x.dtype not in (np.float32, np.int32):
            raise DataError(
                f"{where}: expected apply to return float32 or int32 features "
                f"[{len(examples.x)}, ...], found {x.dtype} {list(x.shape)}. Correct it."
            )
        if x.dtype == np.float32 and not np.isfinite(x).all():
            raise DataError(f"{where}: expected finite numbers from apply, found others.")
        if x.ndim == 2 and x.shape[1] == len(examples.columns):
            return Examples(x, examples.columns)
        names = tuple(f"{self.name.rpartition(':')[2]}_{place}" for place in range(x.shape[1]))
        return Examples(x, names if examples.columns and x.ndim == 2 else ())

    def lines(self) -> list[str]:
        """Return the arrays' shapes."""
        shapes = [f"{name} {list(array.shape)}" for name, array in self.arrays.items()]
        return [f"{self.name}: {', '.join(shapes) or 'nothing fitted'}"]


def build_own_step(name: str, options: Mapping[str, Any], project: Path | None) -> Any:
    """Return the step that a function of the user's own makes.

    Raises:
        DataError: it cannot be imported, raises, or its result has no `fit` and `apply`.
    """
    function = import_own(name, project, "data.preprocess", ConfigError)
    reader = OptionsReader(f"data.preprocess, step {name}", function, given=0)
    (arguments,) = read_options("options", options, [reader], DataError)
    with own_code(f"data.preprocess, step {name}", DataError, "calling it"):
        step = function(**arguments)
    if not callable(getattr(step, "fit", None)) or not callable(getattr(step, "apply", None)):
        raise DataError(
            f"data.preprocess, step {name}: expected an object with fit(x) and apply(x, fitted), "
            f"found {type(step).__name__}."
        )
    return step


def _first(figures: Sequence[str]) -> str:
    more = f"; {len(figures) - 5:,} more" if len(figures) > 5 else ""
    return "; ".join(figures[:5]) + more


_TAGS = {
    **dict.fromkeys(("standardize", "min_max", "robust"), "scaled"),
    **dict.fromkeys(("one_hot", "ordinal"), "categories"),
    **dict.fromkeys(("choose", "drop"), "chosen"),
    "clip": "clip",
    "missing": "missing",
    "dates": "dates",
    "resize": "resize",
    "crop": "crop",
    "grey": "grey",
    "normalize": "normalize",
    "tokenize": "tokenize",
}


def _tag(step: Any) -> str:
    name = step.get("name") if isinstance(step, Mapping) else getattr(step, "name", None)
    return _TAGS.get(str(name), "own")


AnyFitted = Annotated[
    Annotated[Scaled, Tag("scaled")]
    | Annotated[Clipped, Tag("clip")]
    | Annotated[Filled, Tag("missing")]
    | Annotated[Categories, Tag("categories")]
    | Annotated[Days, Tag("dates")]
    | Annotated[Chosen, Tag("chosen")]
    | Annotated[Resized, Tag("resize")]
    | Annotated[Cropped, Tag("crop")]
    | Annotated[Grey, Tag("grey")]
    | Annotated[Normalized, Tag("normalize")]
    | Annotated[Tokenized, Tag("tokenize")]
    | Annotated[OwnFitted, Tag("own")],
    Discriminator(_tag),
]
"""A fitted step of any kind."""
