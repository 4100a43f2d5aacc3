"""The settings of the changes in `client.augment`; docs/preprocess.md describes each for users."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from fedpipe.config.base import Fraction, PositiveInt
from fedpipe.config.preprocess import Number, PositiveNumber, StepSettings


class FlipSettings(StepSettings):
    """Mirrors an image with a probability of one half.

    Attributes:
        axis: `horizontal`: left becomes right; `vertical`: top becomes bottom; `both`: each with
            its own draw.
    """

    name: Literal["flip"]
    axis: Literal["horizontal", "vertical", "both"] = "horizontal"


class RandomCropSettings(StepSettings):
    """Shifts an image by up to `padding` pixels in each direction: pads it, and cuts a window of
    its size at a place that is drawn.

    Attributes:
        padding: pixels at each side.
        fill: value of the padding, from 0 to 1.
    """

    name: Literal["crop"]
    padding: PositiveInt = 4
    fill: Fraction = 0.0


class NoiseSettings(StepSettings):
    """Adds normal noise to each value.

    Attributes:
        std: standard deviation, in units of the features as the model takes them: pixels are 0..1.
        low, high: values beyond are set to these; None leaves them.
    """

    name: Literal["noise"]
    std: PositiveNumber
    low: Number | None = None
    high: Number | None = None

    @model_validator(mode="after")
    def _ordered(self) -> "NoiseSettings":
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(
                f"client.augment, noise: expected low below high, found {self.low:g} and "
                f"{self.high:g}. Correct them."
            )
        return self


AUGMENTATIONS = ("flip", "crop", "noise")


def _known(change: Any) -> Any:
    if isinstance(change, StepSettings):
        return change
    name = change.get("name") if isinstance(change, Mapping) else None
    if name in AUGMENTATIONS:
        return change
    close = difflib.get_close_matches(str(name), AUGMENTATIONS, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    raise ValueError(
        f"client.augment: expected changes such as {{name: flip}}, of {', '.join(AUGMENTATIONS)}, "
        f"found {change!r:.80}.{hint}"
    )


Augmentation = Annotated[
    FlipSettings | RandomCropSettings | NoiseSettings,
    Field(discriminator="name"),
    BeforeValidator(_known),
]
"""One change of `client.augment`."""


def problem_of_augment(
    changes: Sequence[Augmentation], feature_dtype: str, feature_shape: Sequence[int]
) -> str | None:
    """Return why features cannot be changed so; None if they can.

    Args:
        changes: `client.augment`.
        feature_dtype: of the shards.
        feature_shape: of one example.
    """
    for change in changes:
        if feature_dtype == "int32":
            return (
                f"client.augment, {change.name}: expected pixels or numbers, found int32 tokens. "
                "Remove it."
            )
        if not isinstance(change, NoiseSettings) and len(feature_shape) not in (2, 3):
            return (
                f"client.augment, {change.name}: expected images, found features of shape "
                f"{list(feature_shape)}. Remove it, or set data.feature_shape."
            )
    return None
