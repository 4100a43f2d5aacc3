"""Source `images`: a folder `client/label/*.png`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fedpipe.config import DataConfig
from fedpipe.data.sources.base import Batch, Source
from fedpipe.data.sources.checks import check_ids, check_labels, own_path
from fedpipe.data.sources.decode import decode_image_file
from fedpipe.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
_BATCH_IMAGES = 1024
_BATCH_SHARE = 0.125
"""Part of `data.memory_limit_mb` that a batch of images may take: it is held as a list, as an array and as bytes."""


def open_images(config: DataConfig, project: Path) -> Source:
    """Return the images below `data.path`: grey ones as uint8 [h, w], colour ones as uint8 [h, w, 3], all of one size and kind.

    Clients and labels are the names of the folders (labels are numbers if all of them are); examples come in the order of the
    sorted names. A symbolic link that leads out of the folder is refused, and so is an image that is too large to unpack: what it
    says of its size is read first.

    Raises:
        DataError: the folder is not there or empty, or an image cannot be read, is of another size, or too large for
            `data.memory_limit_mb`.
    """
    path = own_path(config, project)
    if not path.is_dir():
        raise DataError(f"{path}: expected a folder client/label/*.png, found a file. Correct data.path.")
    return Source(lambda: _batches(path, int(config.memory_limit_mb * 1_000_000 * _BATCH_SHARE)))


def _batches(root: Path, batch_bytes: int) -> Iterator[Batch]:
    files = sorted(file for file in root.glob("*/*/*") if file.suffix.lower() in SUFFIXES)
    if not files:
        raise DataError(f"{root}: expected images as client/label/*.png, found none. Correct data.path or the folders.")
    labels = sorted({file.parent.name for file in files})
    numbers = all(label.isascii() and label.isdecimal() for label in labels)
    first = _read(files[0], root, batch_bytes)
    step = max(1, min(_BATCH_IMAGES, batch_bytes // max(first.nbytes, 1)))
    for start in range(0, len(files), step):
        images, part = [], files[start : start + step]
        for file in part:
            image = _read(file, root, batch_bytes)
            if image.shape != first.shape:
                raise DataError(f"{file}: expected an image like the first, {first.shape}, found {image.shape}. Resize or convert it.")
            images.append(image)
        names = [file.parent.name for file in part]
        y = check_labels(np.array([int(name) for name in names]) if numbers else names, root, start)
        yield Batch(np.stack(images), y, check_ids([file.parent.parent.name for file in part], root, start))


def _read(file: Path, root: Path, most_bytes: int) -> Any:
    """Return one image below `root` as an array of uint8 [h, w] or [h, w, 3]."""
    try:
        inside = file.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # a link to itself
        inside = False
    if not inside:
        raise DataError(f"{file}: expected an image inside {root}, found a link that leads out of it. Copy the image there.")
    return decode_image_file(file, most_bytes)
