"""What the report says of one run's clients and mistakes: the parts that need the run's own files.
Nothing here is HTML yet.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fedpipe.figures import charts, grids
from fedpipe.figures.mistakes import EACH, PAIRS
from fedpipe.figures.png import data_uri, png
from fedpipe.report.facts import ClientAccuracy, RunFacts
from fedpipe.tracking.participation import REPORTED, spans, totals

_LISTED = 10
_ROWS = 100
"""Clients in the picture of participation."""


def client_accuracy(run: RunFacts) -> dict[str, Any] | None:
    """Return the picture of accuracy over clients, that of the gains by personalization, and the
    clients that fare worst.
    """
    if not run.accuracies:
        return None
    groups = {
        "participating": _accuracies(run.accuracies, False),
        "held out": _accuracies(run.accuracies, True),
    }
    groups = {name: values for name, values in groups.items() if len(values)}
    drawn = [charts.histogram("Accuracy on the client's own test examples", groups, "accuracy")]
    gains = np.array([one.gain for one in run.accuracies if one.gain is not None], np.float64)
    if len(gains):
        limit = max(float(np.abs(gains).max()), 0.01)
        drawn.append(
            charts.histogram(
                "Gain in accuracy by personalization", {"gain": gains}, "gain", (-limit, limit)
            )
        )
    worst = sorted(run.accuracies, key=lambda one: (one.accuracy, one.client_id))[:_LISTED]
    rows = [
        [
            one.client_id,
            "held out" if one.held_out else "",
            str(one.predictions),
            f"{one.accuracy:.3f}",
        ]
        for one in worst
    ]
    return {
        "charts": drawn,
        "columns": ["client", "", "test examples", "accuracy"],
        "rows": rows,
        "of": len(run.accuracies),
    }


def confusion(run: RunFacts) -> dict[str, Any] | None:
    """Return the confusion matrix and the worst pairs, with pictures where the run kept some."""
    if run.confusion is None:
        return None
    chart = grids.confusion("Confusion on the central test set", run.confusion, run.labels)
    examples = run.confusion.examples()
    pairs = []
    for actual, guess, count in run.confusion.worst_pairs(PAIRS):
        names = (run.labels[actual], run.labels[guess])
        shown = [one for one in run.mistakes if (one.actual, one.predicted) == names][:EACH]
        images = [
            {
                "src": data_uri(png(one.pixels)),
                "alt": f"{names[0]} taken for {names[1]}, confidence {one.confidence:.2f}",
            }
            for one in shown
        ]
        share = f"{count / max(int(examples[actual]), 1):.0%} of them"
        pairs.append(
            {
                "actual": names[0],
                "predicted": names[1],
                "count": count,
                "share": share,
                "images": images,
            }
        )
    return {"chart": chart, "pairs": pairs}


def population(run: RunFacts) -> dict[str, Any] | None:
    """Return the pictures of client sizes and label skew."""
    table = run.population
    if table is None:
        return None
    figures = table.figures
    starts, ends, heights = zip(*figures["histogram"], strict=True)
    sizes = charts.bars(
        "Training examples a client", starts, ends, heights, "training examples", "clients"
    )
    clients = f"{_of(len(table.counts), table.all_clients)} clients"
    labels = (
        f"the {len(table.labels)} most frequent of {table.all_labels} labels"
        if len(table.labels) < table.all_labels
        else "labels"
    )
    mix = grids.label_mix(f"Share of {labels} at {clients}", table.counts, table.labels)
    said = [
        f"{figures['clients']} clients, {figures['held_out']} of them held out; "
        + ", ".join(f"{count} {split}" for split, count in figures["examples"].items() if count)
        + " examples",
        f"training examples a client: {figures['size_min']} to {figures['size_max']}, median "
        f"{figures['size_median']:g}, Gini {figures['size_gini']:.2f}",
        f"mean distance of a client's labels from the mix of all: {figures['label_tv_mean']:.2f} "
        f"(0: all alike); {figures['labels_per_client_mean']:.1f} labels a client",
    ]
    return {"charts": [sizes, mix], "said": said}


def participation(run: RunFacts) -> dict[str, Any] | None:
    """Return who took part in which round, and who most often."""
    if not run.clients:
        return None
    all_of = totals(run.clients)
    rounds = max(row.round_num for row in run.clients)
    shown = (
        all_of
        if len(all_of) <= _ROWS
        else [
            all_of[i]
            for i in np.unique(np.linspace(0, len(all_of) - 1, _ROWS).astype(int)).tolist()
        ]
    )
    missed: dict[str, list[int]] = {one.client_id: [] for one in shown}
    for row in sorted(run.clients):
        if row.status != REPORTED and row.client_id in missed:
            missed[row.client_id].append(row.round_num)
    which = f"{_of(len(shown), len(all_of))} clients"
    chart = grids.participation(
        f"Rounds of {which}", {one.client_id: one.rounds for one in shown}, missed, rounds
    )
    counts = [len(one.rounds) for one in all_of]
    absent = sum(one.failed for one in all_of)
    examples = sum(one.examples for one in all_of)
    said = [
        f"{sum(count > 0 for count in counts)} clients reported; rounds a client: {min(counts)} "
        f"to {max(counts)}, median {np.median(counts):g}",
        f"{examples:,} examples processed, each epoch counted; {absent} times a client was asked "
        "and did not report",
    ]
    most = sorted(all_of, key=lambda one: (-one.examples, one.client_id))[:_LISTED]
    rows = [
        [
            one.client_id,
            spans(one.rounds) or "none",
            str(one.failed),
            f"{one.examples:,}",
            f"{one.examples / max(examples, 1):.1%}",
        ]
        for one in most
    ]
    columns = ["client", "reported in rounds", "did not report", "examples", "share of all"]
    return {"chart": chart, "said": said, "columns": columns, "rows": rows, "of": len(all_of)}


def _accuracies(rows: Sequence[ClientAccuracy], held_out: bool) -> charts.Floats:
    return np.array([one.accuracy for one in rows if one.held_out == held_out], np.float64)


def _of(shown: int, there: int) -> str:
    if shown < there:
        return f"{shown} of {there}"
    return str(there)
