"""Source `images`: a folder `client/label/*.png`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fedpipe.config import DataConfig
from fedpipe.data.sources.base import Batch, Source
from fedpipe.data.sources.checks import check_ids, check_labels, own_path, unreadable
from fedpipe.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
_BATCH_IMAGES = 1024


def open_images(config: DataConfig, project: Path) -> Source:
    """Return the images below `data.path`: grey ones as uint8 [h, w], colour ones as uint8 [h, w, 3], all of one size and kind.

    Clients and labels are the names of the folders (labels are numbers if all of them are); examples come in the order of the
    sorted names. A symbolic link that leads out of the folder is refused.

    Raises:
        DataError: the folder is not there or empty, or an image cannot be read or is of another size.
    """
    path = own_path(config, project)
    if not path.is_dir():
        raise DataError(f"{path}: expected a folder client/label/*.png, found a file. Correct data.path.")
    return Source(lambda: _batches(path))


def _batches(root: Path) -> Iterator[Batch]:
    files = sorted(file for file in root.glob("*/*/*") if file.suffix.lower() in SUFFIXES)
    if not files:
        raise DataError(f"{root}: expected images as client/label/*.png, found none. Correct data.path or the folders.")
    labels = sorted({file.parent.name for file in files})
    numbers = all(label.isascii() and label.isdecimal() for label in labels)
    inside, first = root.resolve(), None
    for start in range(0, len(files), _BATCH_IMAGES):
        images, part = [], files[start : start + _BATCH_IMAGES]
        for file in part:
            if not file.resolve().is_relative_to(inside):
                raise DataError(f"{file}: expected an image inside {root}, found a link that leads out of it. Copy the image there.")
            image = _read(file)
            first = image if first is None else first
            if image.shape != first.shape:
                raise DataError(f"{file}: expected an image like the first, {first.shape}, found {image.shape}. Resize or convert it.")
            images.append(image)
        names = [file.parent.name for file in part]
        y = check_labels(np.array([int(name) for name in names]) if numbers else names, root, start)
        yield Batch(np.stack(images), y, check_ids([file.parent.parent.name for file in part], root, start))


def _read(file: Path) -> Any:
    from PIL import Image

    try:
        with Image.open(file) as image:
            grey = image.mode in ("1", "L", "LA", "I;16", "I")
            if image.mode in ("I;16", "I", "F"):
                raise DataError(f"{file}: expected 8 bits a channel, found mode {image.mode}. Convert the image.")
            return np.asarray(image.convert("L" if grey else "RGB"))
    except (OSError, ValueError, SyntaxError, EOFError, TypeError, Image.DecompressionBombError) as err:
        raise unreadable(file, "an image", err) from err
