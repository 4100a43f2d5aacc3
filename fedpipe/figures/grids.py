"""The report's charts in rows and columns: confusion, labels by client, who took part."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from fedpipe.figures.svg import Chart, Frame, cells, element, picture, short, text, ticks
from fedpipe.models.confusion import Confusion
from fedpipe.tables.texts import drawn

_WRITTEN_CLASSES = 20
_WRITTEN_LABELS = 62
_LONGEST = 14
_NAME_IN_TITLE = 200
_MOST_CLASSES = 256


def confusion(title: str, counts: Confusion, all_names: Sequence[str]) -> Chart:
    """Return the confusion matrix: row = label, column = prediction, colour = share of the row. Up
    to 20 classes have their counts.

    Of more than 256 classes the 20 that are confused most are shown; the title says so.

    Args:
        title: what it shows.
        counts: how often each class was taken for which.
        all_names: of the classes.
    """
    shown = counts.most_confused(
        counts.num_classes if counts.num_classes <= _MOST_CLASSES else _WRITTEN_CLASSES
    )
    if len(shown) < counts.num_classes:
        title = f"{title}: the {len(shown)} of {counts.num_classes} classes that are confused most"
    matrix = counts.among(shown)
    names = [drawn(all_names[i], _NAME_IN_TITLE) for i in shown.tolist()]
    classes = len(matrix)
    written = len(matrix) <= _WRITTEN_CLASSES
    cell = 34.0 if written else max(2.0, 560.0 / classes)
    longest = max((len(name) for name in names), default=1)
    left = 40 + 7.0 * min(longest, _LONGEST) if written else 40.0
    size = cell * classes
    foot = (26 + 7.0 * min(longest, _LONGEST) if longest > 3 else 40) if written else 28.0
    shares = matrix / np.maximum(counts.examples()[shown], 1)[:, np.newaxis]
    parts = [element("rect", "board", x=left, y=4.0, width=size, height=size)]
    if written:
        for actual, guess in np.argwhere(matrix).tolist():
            share = float(shares[actual, guess])
            count = int(matrix[actual, guess])
            x = left + guess * cell
            y = 4 + actual * cell
            said = (
                f"{names[actual]} taken for {names[guess]}: {count}"
                if actual != guess
                else f"{names[actual]} right: {count}"
            )
            parts.append(
                element(
                    "rect",
                    "heat",
                    said,
                    x=x,
                    y=y,
                    width=cell,
                    height=cell,
                    fill_opacity=max(share, 0.04),
                )
            )
            parts.append(text(x + cell / 2, y + cell / 2 + 4, str(count), "middle", "count"))
        for index, name in enumerate(names):
            parts.append(text(left - 6, 4 + (index + 0.5) * cell + 4, _cut(name), "end"))
            parts.append(
                _below(left + (index + 0.5) * cell, 4 + size, _cut(name), turned=longest > 3)
            )
    else:
        listed = [
            (guess, actual, float(shares[actual, guess]))
            for actual, guess in np.argwhere(matrix).tolist()
        ]
        parts.append(cells(listed, left, 4, cell, cell))
    height = size + foot + 8
    parts.append(text(left + size / 2, height - 4, "predicted", "middle", "label"))
    parts.append(_beside(4 + size / 2, "actual"))
    right = f"{counts.right} of {counts.total} predictions are right"
    said = f"{title}: {right}; the pairs most often confused are listed beside it"
    return Chart(title, picture(left + size + 6, height, said, parts))


def label_mix(title: str, counts: npt.NDArray[np.int64], names: Sequence[str]) -> Chart:
    """Return the share of each label (columns) at each client (rows), int64 [clients, labels];
    colour is relative to the largest.
    """
    rows, columns = counts.shape
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    most = float(shares.max(initial=0)) or 1.0
    wide = 500.0 / columns
    high = min(14.0, max(2.0, 250.0 / rows))
    left = 30.0
    longest = max((len(name) for name in names), default=1)
    turned = longest > 3
    size = high * rows
    foot = (
        26 + (6.5 * min(longest, _LONGEST) if turned else 14)
        if columns <= _WRITTEN_LABELS
        else 24.0
    )
    listed = [
        (column, row, float(shares[row, column]) / most)
        for row, column in np.argwhere(counts).tolist()
    ]
    parts = [
        element("rect", "board", x=left, y=4.0, width=500.0, height=size),
        cells(listed, left, 4, wide, high),
    ]
    if columns <= _WRITTEN_LABELS:
        shown = [_cut(name) for name in names]
        parts.extend(
            _below(left + (index + 0.5) * wide, 4 + size, name, turned)
            for index, name in enumerate(shown)
        )
    parts.append(text(left + 250, size + foot + 2, "label", "middle", "label"))
    parts.append(_beside(4 + size / 2, "client"))
    return Chart(
        title,
        picture(540, size + foot + 8, f"{title}; the darkest cell is a share of {most:.0%}", parts),
    )


def participation(
    title: str, done: Mapping[str, Sequence[int]], missed: Mapping[str, Sequence[int]], rounds: int
) -> Chart:
    """Return a row a client: the rounds in which it reported, and those in which it was asked and
    did not.

    Args:
        title: what it shows.
        done: rising rounds by client id.
        missed: rising rounds by client id.
        rounds: number of rounds.
    """
    clients = list(dict.fromkeys([*done, *missed]))
    high = min(14.0, max(3.0, 320.0 / max(len(clients), 1)))
    left = 30.0
    size = high * len(clients)
    wide = 510.0 / max(rounds, 1)
    frame = Frame(0.5, rounds + 0.5, 0, 1, 556, size + 48, left, 4, 16, 44)
    parts = [element("rect", "board", x=left, y=4.0, width=510.0, height=size)]
    for kind, css in ((done, "s0"), (missed, "s1")):
        path = []
        for row, client in enumerate(clients):
            for first, last in _runs(kind.get(client, ())):
                x = frame.x(first - 0.5)
                y = 4 + row * high
                path.append(
                    f"M{short(x)} "
                    f"{short(y)}h{short(wide * (last - first + 1))}v{short(high * 0.9)}H{short(x)}z"
                )
        if path:
            parts.append(element("path", f"solid {css}", d="".join(path)))
    below = size + 4
    marks = [
        value
        for value in ticks(0, rounds, 8, whole=True)
        if value > 0 and rounds - value >= rounds / 20
    ]
    parts.extend(
        text(frame.x(value), below + 16, f"{value:g}", "middle")
        for value in sorted({1.0, *marks, float(rounds)})
    )
    parts.append(text(left + 255, size + 44, "round", "middle", "label"))
    parts.append(_beside(4 + size / 2, "client"))
    legend = [("s0", "reported")] + (
        [("s1", "asked, did not report")] if any(missed.values()) else []
    )
    said = f"{title}: {len(clients)} clients in {rounds} rounds; the table below has the figures"
    return Chart(title, picture(556, size + 50, said, parts), tuple(legend), filled=True)


def _below(x: float, y: float, words: str, turned: bool) -> Markup:
    if not turned:
        return text(x, y + 16, words, "middle")
    return Markup(
        '<text class="tick" text-anchor="end" transform="translate({} {}) rotate(-90)">{}</text>'
    ).format(short(x + 4), short(y + 6), words)


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Return rising numbers as first and last of what follows without a gap.

    >>> _runs([1, 2, 3, 7])
    [(1, 3), (7, 7)]
    """
    found: list[tuple[int, int]] = []
    for value in numbers:
        if found and value == found[-1][1] + 1:
            found[-1] = (found[-1][0], value)
        else:
            found.append((value, value))
    return found


def _beside(y: float, words: str) -> Markup:
    turned = Markup(
        '<text class="label" text-anchor="middle" transform="translate(14 {}) '
        'rotate(-90)">{}</text>'
    )
    return turned.format(short(y), words)


def _cut(name: str) -> str:
    return drawn(name, _LONGEST)
