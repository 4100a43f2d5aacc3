"""From the settings of the steps for images to the steps, which have nothing to fit."""

from collections.abc import Sequence
from itertools import takewhile

import numpy as np

from fedpipe.config.preprocess import (
    CropSettings,
    GreySettings,
    PreprocessStep,
    ResizeSettings,
)
from fedpipe.data.array_types import Array
from fedpipe.data.preprocess.fitted import AnyFitted
from fedpipe.data.preprocess.image_steps import Cropped, Grey, Resized
from fedpipe.errors import DataError


def image_step(step: ResizeSettings | CropSettings | GreySettings, x: Array) -> AnyFitted:
    """Return the step for images, which has nothing to fit. Raises DataError of other features."""
    refuse_no_images(step.name, x)
    if x.dtype != np.uint8 or x.shape[3:] not in ((), (3,)):
        raise DataError(
            f"data.preprocess, step {step.name}: expected pixels, uint8 [height, width] or "
            f"[height, width, 3], found {x.dtype} {list(x.shape[1:])}. Put it before the steps "
            "for numbers, or remove it."
        )
    if isinstance(step, GreySettings):
        return Grey(name="grey")
    height, width = step.size
    if isinstance(step, ResizeSettings):
        return Resized(name="resize", size=(height, width))
    return Cropped(name="crop", size=(height, width))


def reading_steps(settings: Sequence[PreprocessStep]) -> tuple[AnyFitted, ...]:
    """Return the first steps of the settings that a source of images applies to each image as it
    reads it, so that images may differ in size before.
    """
    pixels = np.zeros((1, 1, 1, 3), np.uint8)
    first = takewhile(
        lambda step: isinstance(step, ResizeSettings | CropSettings | GreySettings), settings
    )
    return tuple(image_step(step, pixels) for step in first)  # type: ignore[arg-type]


def refuse_no_images(step: str, x: Array) -> None:
    """Raise DataError if features are no images."""
    if x.ndim not in (3, 4):
        raise DataError(
            f"data.preprocess, step {step}: expected images [height, width] or [height, width, "
            f"channels], found features of shape {list(x.shape[1:])}. Remove the step, or set "
            "data.feature_shape."
        )
