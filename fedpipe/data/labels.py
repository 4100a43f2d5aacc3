"""Numbers the labels that occur as classes, and warns of labels and ids that look like mistakes."""

from collections.abc import Sequence
from typing import Any
from unicodedata import normalize

import numpy as np

from fedpipe.data.array_types import Array, Int32s
from fedpipe.data.sources.cell_kinds import MISSING
from fedpipe.errors import DataError, shorten

_MANY_CLASSES = 100
_FEW_EXAMPLES = 10
_SOME_CLASSES = 20
_MISSING_TEXTS = ("nan", "NaN", "NAN", "None", "NaT", "<NA>", "null", "NULL")


def is_text(labels: Array | Sequence[Any]) -> bool:
    """Return whether labels are texts: anything but an array of whole numbers."""
    if not isinstance(labels, np.ndarray):
        return True
    return not (
        labels.dtype.kind in "iu"
        or (labels.dtype == np.object_ and all(isinstance(value, int) for value in labels))
    )


class Codes:
    """Numbers values in the order in which they come; `finish` gives them sorted, with each
    number's place in that order.

    What it holds grows with the distinct values, not with their size or number.
    """

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def add_texts(self, texts: Sequence[str]) -> Int32s:
        """Return int32 [n], the number of each text."""
        numbers = self._numbers
        return np.fromiter(
            (numbers.setdefault(text, len(numbers)) for text in texts), np.int32, len(texts)
        )

    def add_numbers(self, values: Array) -> Int32s:
        """Return int32 [n], the number of each whole number, which may be of any size."""
        distinct, inverse = np.unique(values, return_inverse=True)
        return self.add_texts(distinct.tolist())[inverse]

    def finish(self) -> tuple[tuple[Any, ...], Int32s]:
        """Return the sorted values, and int32 [values]: for each number the place of its value
        among them. Forgets the values.
        """
        values = tuple(sorted(self._numbers))
        rank = np.empty(len(values), np.int32)
        rank[[self._numbers[value] for value in values]] = np.arange(len(values), dtype=np.int32)
        self._numbers = {}
        return values, rank


def classes_of(
    values: tuple[Any, ...], num_classes: int | None, where: str
) -> tuple[int, tuple[str, ...] | None, Int32s]:
    """Return the number of classes, the vocabulary or None, and int32 [values]: the class of each
    value.

    Args:
        values: the labels that occur, sorted; all texts or all whole numbers.
        num_classes: what the source says, or None.
        where: name of the source, for errors.

    Raises:
        DataError: the source says a number of classes that its labels do not have.

    >>> classes_of((0, 1, 2), None, "")[:2], classes_of((-1, 7), None, "")[:2]
    ((3, None), (2, ('-1', '7')))
    >>> classes_of((0, 2), 4, "")[:2]
    (4, None)
    """
    places = np.arange(len(values), dtype=np.int32)
    if isinstance(values[0], str):
        if num_classes not in (None, len(values)):
            raise DataError(
                f"{where}: expected {num_classes} different labels, as the source's num_classes "
                f"says, found {len(values)}."
            )
        return len(values), values, places
    if num_classes is not None:
        num_classes = int(num_classes)
        if values[0] < 0 or values[-1] >= num_classes:
            wrong = values[0] if values[0] < 0 else values[-1]
            raise DataError(
                f"{where}: expected labels 0..{num_classes - 1}, as the source's num_classes "
                f"says, found {wrong}. Correct the labels or num_classes; without num_classes the "
                "labels that occur are the classes."
            )
        return num_classes, None, np.array(values, np.int32)
    if values[0] == 0 and values[-1] == len(values) - 1:
        return len(values), None, places
    return len(values), tuple(map(str, values)), places


def label_notes(values: tuple[Any, ...], examples: int, num_classes: int | None) -> list[str]:
    """Return warnings about labels that look like mistakes, one line each.

    Args:
        values: the labels that occur, sorted.
        examples: number of examples.
        num_classes: what the source says, or None; it is meant then.
    """
    classes = len(values)
    if classes == 1:
        return [
            f"all examples have the same label, {values[0]}: there is nothing to learn. Is "
            "data.label_column the right one?"
        ]
    return _text_notes(values) + _size_notes(values, examples, num_classes)


def _text_notes(values: tuple[Any, ...]) -> list[str]:
    if (
        not isinstance(values[0], str) or max(map(len, values)) < 2
    ):  # of single characters each is meant
        return []
    notes = []
    if any(text.strip().lower() in MISSING for text in values):
        notes.append(
            "a label such as NA, nan or null, or of spaces alone, occurs and is a class like the "
            "others"
        )
    alike: dict[str, list[str]] = {}
    for text in values:
        alike.setdefault(" ".join(normalize("NFC", text).casefold().split()), []).append(text)
    twins = [texts for texts in alike.values() if len(texts) > 1]
    if twins:
        shown = shorten((" and ".join(map(repr, texts)) for texts in twins), 3)
        notes.append(
            "labels differ in spaces, case or the way of writing accents alone, and each is a "
            f"class: {shown}"
        )
    return notes


def _size_notes(values: tuple[Any, ...], examples: int, num_classes: int | None) -> list[str]:
    classes = len(values)
    if num_classes is not None or classes < _SOME_CLASSES:
        return []
    few = examples < _FEW_EXAMPLES * classes
    if not isinstance(values[0], str) and (classes >= _MANY_CLASSES or few):
        return [
            f"the labels are {classes:,} whole numbers from {values[0]} to {values[-1]}, and each "
            "became a class: if they are a quantity to predict, set task.kind=regression or make "
            "a few classes of it (bins); else name another column in data.label_column"
        ]
    if isinstance(values[0], str) and examples < 2 * classes:
        return [
            f"{classes:,} different labels in {examples:,} examples: nearly every example is a "
            "class of its own. Is data.label_column the right one?"
        ]
    return []


def id_notes(client_ids: Sequence[str]) -> list[str]:
    """Return a line if a client's id looks like a missing value that was written as a text, and one
    if ids differ in spaces alone.
    """
    known = set(client_ids) if len(client_ids) < _MANY_CLASSES else client_ids
    notes = []
    plain = ((text, normalize("NFC", text.strip())) for text in client_ids)
    twins = [f"{text!r} and {name!r}" for text, name in plain if text != name and name in known]
    if twins:
        notes.append(
            "ids of clients differ in spaces or the way of writing accents alone, and each is a "
            f"client: {shorten(twins, 3)}"
        )
    suspect = [text for text in _MISSING_TEXTS if text in known]
    if not suspect:
        return notes
    return [
        *notes,
        f"a client is called {', '.join(suspect)}: if its examples are those without a client, "
        "name or remove them in the source",
    ]


def require_two_labels(values: tuple[Any, ...], where: str) -> None:
    """Raise DataError if there are not exactly two labels, as `task.kind=binary` needs."""
    if len(values) == 2:
        return
    advice = "Set task.kind=classification"
    if not isinstance(values[0], str):
        advice = "Set task.kind=classification, or regression if they are a quantity"
    if len(values) < 2:
        advice = "Bring examples of both"
    raise DataError(
        f"{where}: expected two different labels for task.kind=binary, found {len(values):,}: "
        f"{shorten(values, 5)}. {advice}, or name another column in data.label_column."
    )
