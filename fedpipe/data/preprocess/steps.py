"""All fitted steps of a data version or a model: applied in order, and kept as JSON."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from fedpipe.data.array_types import Array
from fedpipe.data.preprocess.examples import Examples
from fedpipe.data.preprocess.fitted import AnyFitted, Categories, Filled, OwnFitted, Scaled
from fedpipe.data.preprocess.token_steps import Tokenized
from fedpipe.errors import DataError


class FittedSteps(BaseModel):
    """The steps of a data version.

    Attributes:
        dtype, shape: of one example before the steps.
        columns: names of the table's columns before the steps; empty where features are no table.
        texts: those of them that hold texts.
        skipped: those of `texts` that a step leaves out without a look at them.
        images: steps that a source of images applies to each image as it reads it; `dtype` and
            `shape` are those after them.
        steps: the others, in their order.
        result: names of the columns after the steps; empty where features are no table then.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    dtype: Literal["uint8", "int32", "float32"]
    shape: tuple[int, ...]
    columns: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    images: tuple[AnyFitted, ...] = ()
    steps: tuple[AnyFitted, ...]
    result: tuple[str, ...] = ()

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str) -> "FittedSteps":
        """Return the steps that `to_json` wrote. Raises DataError if they are none."""
        import json

        try:
            return cls.model_validate_json(json.dumps(values))
        except ValidationError as err:
            first = err.errors()[0]
            raise DataError(
                f"{where}: expected steps of preprocessing of this version, found "
                f"{'.'.join(map(str, first['loc']))}: {first['msg']}. Use the version of fedpipe "
                "that made it."
            ) from err

    def to_json(self) -> dict[str, Any]:
        """Return them as JSON-able values."""
        return self.model_dump(mode="json", exclude_defaults=True)

    @cached_property
    def gaps(self) -> frozenset[str]:
        """Return the columns whose cells may be empty."""
        return frozenset(
            name
            for step in self.steps
            if isinstance(step, Filled) and step.by != "drop"
            for name in step.columns
        )

    @property
    def tokens(self) -> int | None:
        """Return the number of different tokens after the steps; None where no step makes
        tokens.
        """
        made = [step.tokens for step in self.steps if isinstance(step, Tokenized)]
        return made[-1] if made else None

    @property
    def per_client(self) -> bool:
        """Return whether a step has figures of each client, which are not kept."""
        return any(isinstance(step, Scaled) and step.per == "client" for step in self.steps)

    def apply(
        self, x: Array, texts: Mapping[str, Any] | None = None, project: Path | None = None
    ) -> Array:
        """Return features after the steps.

        Args:
            x: [n, *shape], of `dtype`, in a column of texts the places in `texts`.
            texts: the distinct texts of each column of texts.
            project: folder of the user's own steps.

        Raises:
            DataError: an example does not fit a step.
        """
        examples = Examples(x, self.columns, texts or {})
        for step in self.steps:
            if isinstance(step, OwnFitted):
                step.built(project)
            examples = step.apply(examples)
        return examples.x

    def notes(self, texts: Mapping[str, Any]) -> list[str]:
        """Return what of the fit may not be meant, one line each.

        Args:
            texts: the distinct texts of each column of texts, of all examples.
        """
        notes = []
        for step in self.steps:
            if not isinstance(step, Categories):
                continue
            becomes = "0 in all its columns" if step.name == "one_hot" else "-1"
            for column, categories in step.categories.items():
                unknown = len(set(texts.get(column, ())) - set(categories))
                if unknown:
                    notes.append(
                        f"{column}: {unknown:,} texts are no category of step {step.name}, as no "
                        f"training example of a participating client has them: {becomes}"
                    )
        return notes

    def lines(self) -> list[str]:
        """Return what was fitted, in words, a line for each subject."""
        return [line for step in (*self.images, *self.steps) for line in step.lines()]


def read_images(steps: Iterable[AnyFitted], pixels: Array) -> Array:
    """Return uint8 images [n, height, width(, 3)] after the steps that a source of images applies
    as it reads them.
    """
    examples = Examples(pixels)
    for step in steps:
        examples = step.apply(examples)
    return examples.x


def refuse_gaps(x: Array, columns: tuple[str, ...]) -> None:
    """Raise DataError if a number is missing or infinite after all steps."""
    if x.dtype != np.float32 or np.isfinite(x).all():
        return
    place = int(np.argwhere(~np.isfinite(x.reshape(len(x), -1)))[0, 1])
    name = f"column {columns[place]}" if columns else f"value {place}"
    raise DataError(
        f"data.preprocess: expected finite numbers after the steps, found another in {name}. "
        "Correct the constants, or put {name: missing} before the other steps."
    )
