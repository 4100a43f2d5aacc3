"""Interface of sources: batches of examples as columns, with or without clients of their own."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from fedpipe.data.array_types import Array, Bools, Int32s

Labels = Array | Sequence[str] | Sequence[Sequence[str | int]]
"""Labels of n examples: whole numbers [n] or texts; of regression numbers [n] or [n, targets]; of
multilabel 0 and 1 [n, labels], or n lists of labels.
"""
PixelConvention = Literal["ink=1.0", "background=1.0"]


@dataclass(frozen=True)
class Batch:
    """Some examples of a source, in the source's order. All columns have n rows.

    Attributes:
        x: uint8 (0..255, divided by 255 before a model sees them), float32 (used as they are) or
            int32 (tokens) [n, *feature_shape]; dtype and shape are the same in all batches. Or, for
            sequences of variable length, a list of n arrays int32 [length], tokens from 1: they are
            padded with 0 to the longest.
        y: labels [n]: whole numbers, or texts; of `task.kind=regression` and `multilabel` what
            `Labels` says. Of one kind in all batches. None in all batches if there are none, which
            `task.kind=tokens` alone allows.
        clients: the id of each example's client, n texts; None in all batches if the source has no
            clients.
        is_test: bool [n], whether the source has the example in its test split; None in all batches
            if it has no split.
    """

    x: npt.NDArray[np.generic] | list[Int32s]
    y: Labels | None = None
    clients: Sequence[str] | None = None
    is_test: Bools | None = None


@dataclass(frozen=True)
class SourceSummary:
    """What a source understood of its files, in words: `fedpipe prepare` prints it, the manifest
    records it, `describe` repeats it.

    Each text is one line of plain language. Counts of examples, clients and classes are added by
    `prepare`.

    Attributes:
        format: what the files are and how they were read, for example `CSV file a.csv: separator
            ';' (detected), encoding utf-8`.
        features: what became features, for example `2 columns of numbers: a, b`; empty if there is
            nothing to say.
        left_out: what was not read and why, one text for each reason, with its count.
        notes: what was guessed or converted, and the setting that changes it.
        columns: names of the table's columns that became features, in the order of the features;
            empty where features are no columns of numbers. A model keeps them, so that `predict`
            finds its columns by name.
    """

    format: str
    features: str = ""
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """A source, opened. What a user's own source function returns: `function(config: DataConfig,
    project: Path) -> Source`.

    Attributes:
        batches: gives all examples from the first, the same ones in the same order at each call;
            batches of some thousand examples keep memory small. Raises DataError where the source
            is damaged.
        num_classes: number of classes; numbers must then be 0..num_classes - 1, texts as many.
            None: the labels that occur are the classes, in a sorted vocabulary, unless they are the
            numbers 0..K - 1 without a gap, which need none.
        pixel_convention: what 1.0 means; None where the features are no drawings.
        summary: returns what the source understood of its files; called once, after all batches of
            one call of `batches` were taken, so that it can count what was left out. None: nothing
            to say.
        texts: returns the distinct texts of each column of texts beside numbers, in whose columns
            the batches have the places of the texts; called as `summary`. None: there are no such
            columns.
        target_names: of regression and multilabel the names of the targets or labels, in the order
            of the columns of `Batch.y`; None: `data.label_column`.
    """

    batches: Callable[[], Iterable[Batch]]
    num_classes: int | None = None
    pixel_convention: PixelConvention | None = None
    summary: Callable[[], SourceSummary] | None = None
    texts: Callable[[], Mapping[str, Sequence[str]]] | None = None
    target_names: Sequence[str] | None = None
