"""Which classes the model confuses."""

from collections.abc import Iterable

from fedpipe.figures.confusion_matrix import confusion_matrix
from fedpipe.figures.png import data_uri, png
from fedpipe.report.facts import RunFacts
from fedpipe.report.section import ConfusedPair, Image, Section
from fedpipe.tables.mistakes import IMAGES_PER_PAIR, MOST_PAIRS, Mistake


def confusion(run: RunFacts) -> Section | None:
    """Return the confusion matrix and the worst pairs, with images where the run kept some."""
    if run.confusion is None:
        return None
    examples = run.confusion.examples()
    pairs = []
    for actual, predicted, count in run.confusion.worst_pairs(MOST_PAIRS):
        names = (run.labels[actual], run.labels[predicted])
        mistakes = [
            mistake for mistake in run.mistakes if (mistake.actual, mistake.predicted) == names
        ]
        share = f"{count / max(int(examples[actual]), 1):.0%} of them"
        pairs.append(ConfusedPair(*names, count, share, _images(mistakes[:IMAGES_PER_PAIR])))
    title = "Confusion on the central test set"
    return Section(charts=[confusion_matrix(run.confusion, run.labels, title)], pairs=pairs)


def _images(mistakes: Iterable[Mistake]) -> list[Image]:
    return [
        Image(
            data_uri(png(mistake.pixels)),
            f"{mistake.actual} taken for {mistake.predicted}, confidence {mistake.confidence:.2f}",
        )
        for mistake in mistakes
    ]
