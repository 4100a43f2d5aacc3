"""Source `images`: a folder of images, `client/label/image`, or `label/image` where there are no
clients.
"""

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fedpipe.config import DataConfig
from fedpipe.config.task import TaskKind
from fedpipe.data.array_types import Array, Pixels
from fedpipe.data.preprocess.fitted import AnyFitted
from fedpipe.data.preprocess.image_settings import reading_steps
from fedpipe.data.preprocess.steps import read_images
from fedpipe.data.sources.base import Batch, Source, SourceSummary
from fedpipe.data.sources.cell_kinds import number_of_cell
from fedpipe.data.sources.decode import (
    DecodedImage,
    decode_image_file,
    image_size,
    image_suffixes,
    is_stored_grey,
    looks_like_image,
    without_equal_channels,
)
from fedpipe.data.sources.places import BatchPlace, own_path
from fedpipe.data.sources.target_checks import checked_batch
from fedpipe.errors import DataError, shorten

_BATCH_IMAGES = 1024
_BATCH_SHARE = 0.125
"""Part of `data.memory_limit_mb` that a batch of images may take: it is held as a list, as an array
and as bytes.
"""

_SYSTEM_NAMES = frozenset(
    {
        "__macosx",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "$recycle.bin",
        "system volume information",
        "@eadir",
        "lost+found",
        "__pycache__",
    }
)
_COPIES = ("~", ".bak", ".tmp", ".part", ".crdownload", ".orig")
_UNREAD_IMAGES = frozenset(
    {
        *(".heic", ".heif", ".hif", ".jxl", ".jxr", ".wdp"),  # of phones and browsers
        *(".svg", ".svgz", ".eps", ".ps", ".ai", ".wmf", ".emf"),  # drawings
        *(".exr", ".hdr", ".xcf", ".djvu", ".dcm", ".dicom"),
        *(
            ".dng",
            ".cr2",
            ".cr3",
            ".nef",
            ".arw",
            ".orf",
            ".rw2",
            ".raf",
            ".srw",
            ".pef",
        ),  # raw data of cameras
    }
)
"""Endings of images that Pillow does not read by itself: they are refused, as leaving them out
would lose examples.
"""


@dataclass
class _Folder:
    """The images of a folder, and what is no image.

    Attributes:
        root: the folder.
        names: (client, label, file), or (label, file) where there are no clients.
        foreign: number of files that are no images, by their ending.
        hidden: hidden and system files and folders, relative to `root`.
        empty: folders of clients and labels without images, relative to `root`.
        conversions: number of images by what was done to them.
        shape: of the first image.
        steps: of preprocessing that each image goes through as it is read.
    """

    root: Path
    names: list[tuple[str, ...]] = field(default_factory=list)
    foreign: Counter[str] = field(default_factory=Counter)
    hidden: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    conversions: Counter[str] = field(default_factory=Counter)
    shape: tuple[int, ...] = ()
    steps: tuple[AnyFitted, ...] = ()

    def clear(self) -> None:
        """Forget what an earlier reading found."""
        for collected in (self.names, self.foreign, self.hidden, self.empty, self.conversions):
            collected.clear()


def open_images(config: DataConfig, project: Path, kind: TaskKind = "classification") -> Source:
    """Return the images below `data.path`: grey ones as uint8 [h, w], colour ones as uint8 [h, w,
    3], all of one size and kind.

    Clients and labels are the names of the folders in Unicode's form NFC; labels are numbers if all
    of them are written as numbers without leading zeros; of regression they are numbers. Examples
    come in the order of the sorted names. Hidden and system files are left out, and so is what is
    no image; `summary` counts them.

    Raises:
        DataError: the folder is not there or has no images; an image stands at another depth,
            cannot be read, is of another size or kind than the first, or is too large for
            `data.memory_limit_mb`; a link leads out of the folder.
    """
    path = own_path(config, project)
    if not path.is_dir():
        raise DataError(
            f"{path}: expected a folder of images, {_layout(config)}, found a file. Correct "
            "data.path."
        )
    read = _Folder(path, steps=reading_steps(config.preprocess))

    def batches() -> Iterator[Batch]:
        read.clear()
        _list_images(read, config)
        return _batches(read, int(config.memory_limit_mb * 1_000_000 * _BATCH_SHARE), kind)

    return Source(batches, summary=lambda: _summary(read, config))


def images_below(path: Path) -> tuple[list[Path], list[str]]:
    """Return all images below a folder at any depth, by name, and what was left out, in words.

    Raises:
        DataError: an image is of a format that Pillow does not read, or a link leads out of the
            folder.
    """
    folder = _Folder(path)
    images = [path.joinpath(*names) for names in sorted(_walk(folder, (), 3))]
    return images, _left_out(folder)


def _layout(config: DataConfig) -> str:
    if config.client_column is None:
        return "label/image"
    return "client/label/image"


def _list_images(folder: _Folder, config: DataConfig) -> None:
    depth = 2 if config.client_column is None else 3
    for names in sorted(_walk(folder, (), depth)):
        if len(names) != depth:
            remedy = "Move it, or set data.path to the folder that holds the clients."
            if len(names) == 2 and depth == 3:
                remedy = (
                    "Move it into a folder of its client; if there are no clients, set "
                    "data.client_column=null: then it is label/image."
                )
            raise DataError(
                f"{folder.root}: expected images as {_layout(config)}, found {'/'.join(names)}. "
                f"{remedy}"
            )
        folder.names.append(names)
    if not folder.names:
        left_out = "; ".join(_left_out(folder))
        raise DataError(
            f"{folder.root}: expected images as {_layout(config)}, found "
            f"none{f' ({left_out})' if left_out else ''}. Correct data.path or the folders."
        )
    used = {names[:end] for names in folder.names for end in range(1, depth)}
    folder.empty = sorted(
        "/".join(names) for names in _folders(folder.root, depth - 1) if names not in used
    )


def _walk(folder: _Folder, above: tuple[str, ...], depth: int) -> Iterator[tuple[str, ...]]:
    """Yield the names of all images below a folder, and count what is no image."""
    with os.scandir(folder.root.joinpath(*above)) as entries:
        for entry in entries:
            names = (*above, entry.name)
            path = folder.root.joinpath(*names)
            if _is_hidden(entry.name):
                folder.hidden.append("/".join(names))
            elif _is_folder(entry):
                if entry.is_symlink():
                    _refuse_link_outside(path, folder.root)
                if (
                    not entry.is_symlink() or len(names) < depth
                ):  # deeper ones could lead back here, again and again
                    yield from _walk(folder, names, depth)
            elif _is_image(path):
                if entry.is_symlink():
                    _refuse_link_outside(path, folder.root)
                yield names
            else:
                folder.foreign[path.suffix.lower() or "without an ending"] += 1


def _folders(root: Path, depth: int) -> Iterator[tuple[str, ...]]:
    """Yield the names of the folders of clients and labels that are not hidden."""
    for level in range(1, depth + 1):
        for path in root.glob("/".join("*" * level)):
            names = path.relative_to(root).parts
            if path.is_dir() and not any(map(_is_hidden, names)):
                yield names


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_image(path: Path) -> bool:
    """Return whether a file is an image, by its ending or else by its beginning. Refuses images
    that Pillow cannot read.
    """
    suffix = path.suffix.lower()
    if suffix in _UNREAD_IMAGES:
        raise DataError(
            f"{path}: expected an image that Pillow reads, found {suffix}. Convert it, for "
            "example to PNG, or move it elsewhere."
        )
    if suffix in image_suffixes():
        return True
    return path.is_file() and not path.name.lower().endswith(_COPIES) and looks_like_image(path)


def _refuse_link_outside(path: Path, root: Path) -> None:
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):  # it leads nowhere, or to itself
        raise DataError(
            f"{path}: expected an image or a folder, found a link that leads nowhere. Remove or "
            "correct it."
        ) from None
    if not target.is_relative_to(root.resolve()):
        raise DataError(
            f"{path}: expected an image inside {root}, found a link that leads out of it. Copy "
            "the images there."
        )


def _batches(folder: _Folder, batch_bytes: int, kind: TaskKind) -> Iterator[Batch]:
    all_labels = {_nfc(names[-2]) for names in folder.names}
    is_number = all(label.isdecimal() and str(int(label)) == label for label in all_labels)
    label_type: Callable[[str], Any] = int if is_number else str
    if kind == "regression":
        label_type = _number_or_text
    first_names = folder.names[0]
    first = _read(folder, first_names, batch_bytes)
    grey = without_equal_channels(first)
    if grey.ndim == 2 and (first.ndim == 2 or _any_grey(folder)):
        first = grey
    folder.shape = first.shape
    folder.conversions = Counter()
    step = max(1, min(_BATCH_IMAGES, batch_bytes // max(first.nbytes, 1)))
    for start in range(0, len(folder.names), step):
        batch_names = folder.names[start : start + step]
        images = [
            _like_first(folder, names, _read(folder, names, batch_bytes), first)
            for names in batch_names
        ]
        labels = map(label_type, [_nfc(names[-2]) for names in batch_names])
        clients = None
        if len(first_names) == 3:
            clients = [_nfc(names[0]) for names in batch_names]
        place = BatchPlace(folder.root, start)
        yield checked_batch(np.stack(images), list(labels), clients, None, place, kind)


def _number_or_text(label: str) -> float | str:
    number = number_of_cell(label)
    return label if number is None else number


def _nfc(name: str) -> str:
    """Return a folder's name in the form NFC: the same name is written in two ways, for example on
    macOS and Linux.
    """
    return unicodedata.normalize("NFC", name)


def _read(folder: _Folder, names: tuple[str, ...], most_bytes: int) -> Pixels:
    image: DecodedImage = decode_image_file(folder.root.joinpath(*names), most_bytes)
    folder.conversions.update(image.conversions)
    pixels: Pixels = read_images(folder.steps, image.pixels[None])[0]
    return pixels


def _any_grey(folder: _Folder) -> bool:
    return any(is_stored_grey(folder.root.joinpath(*names)) for names in folder.names)


def _like_first(folder: _Folder, names: tuple[str, ...], pixels: Array, first: Array) -> Array:
    """Return an image of the first one's size and kind; colours that are all grey count as grey
    where the first image is.
    """
    if first.ndim == 2 and pixels.ndim == 3:
        pixels = without_equal_channels(pixels)
        if pixels.ndim == 2:
            folder.conversions["stored in colour with equal channels, taken as grey"] += 1
    if pixels.shape != first.shape:
        raise DataError(
            f"{folder.root.joinpath(*names)}: expected an image like the first, "
            f"{image_size(first.shape)} ({'/'.join(folder.names[0])}), found "
            f"{image_size(pixels.shape)}. Resize or convert it, or move it elsewhere."
        )
    return pixels


def _left_out(folder: _Folder) -> list[str]:
    texts = []
    if folder.foreign:
        kinds = [f"{count:,} {suffix}" for suffix, count in folder.foreign.most_common()]
        texts.append(f"files that are no images: {folder.foreign.total():,} ({shorten(kinds)})")
    if folder.hidden:
        texts.append(
            f"hidden or system files and folders: {len(folder.hidden):,} "
            f"({shorten(sorted(folder.hidden), 3)})"
        )
    return texts


def _summary(folder: _Folder, config: DataConfig) -> SourceSummary:
    kinds = Counter(Path(names[-1]).suffix.lower() or "without an ending" for names in folder.names)
    counts = ", ".join(f"{count:,} {suffix}" for suffix, count in kinds.most_common(8))
    left_out = _left_out(folder)
    if folder.empty:
        left_out.append(
            f"folders without images, which are no client or label: {len(folder.empty):,} "
            f"({shorten(folder.empty)})"
        )
    return SourceSummary(
        format=f"images in {folder.root.name} as {_layout(config)}: {counts}",
        features=f"images of {image_size(folder.shape)}",
        left_out=tuple(left_out),
        notes=tuple(
            f"images {conversion}: {count:,}"
            for conversion, count in sorted(folder.conversions.items())
        ),
    )
