"""The clients of a run: what the model is worth to them, their examples and labels, and which of
them took part.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence

import numpy as np

from fedpipe.figures.evaluation_charts import client_values
from fedpipe.figures.participation_chart import participation as participation_chart
from fedpipe.figures.population_charts import client_sizes, label_skew, target_ranges
from fedpipe.report.facts import RunFacts
from fedpipe.report.section import Section, Table
from fedpipe.tables.shown_task import is_fraction, metric_words
from fedpipe.tables.texts import number, shown_of
from fedpipe.tables.thinning import evenly_spaced
from fedpipe.tracking.participation import REPORTED, ClientRound, ClientTotal, spans, totals

_MOST_ROWS = 10
_MOST_DRAWN = 100
"""Clients in the chart of participation."""


def accuracies(run: RunFacts) -> Section | None:
    """Return how the metric that chooses and the gains of personalization are distributed over
    clients, and the clients for which the model is worst.
    """
    values = run.accuracies
    if values is None or not values.clients:
        return None
    worst = values.worst_first()
    rows = []
    for client in worst[:_MOST_ROWS]:
        value = client.value or 0.0
        shown = f"{value:.3f}" if is_fraction(values.metric) else number(value)
        held_out = "held out" * client.held_out
        rows.append([client.client_id, held_out, str(client.predictions), shown])
    words = metric_words(values.metric)
    lines = []
    absent = len(values.clients) - len(worst)
    if absent:
        lines.append(f"{absent} of {len(values.clients)} clients have no {words} of their own")
    groups, gains = values.groups()
    return Section(
        charts=client_values(values.metric, groups, gains),
        lines=lines,
        table=Table(["client", "", "test examples", words], rows, len(values.clients)),
    )


def population(run: RunFacts) -> Section | None:
    """Return the sizes of clients and their labels."""
    table = run.population
    if table is None:
        return None
    figures = table.figures
    examples = ", ".join(
        f"{count} {split}" for split, count in figures["examples"].items() if count
    )
    lines = [
        f"{figures['clients']} clients, {figures['held_out']} of them held out; {examples} "
        "examples",
        f"training examples per client: {figures['size_min']} to {figures['size_max']}, median "
        f"{figures['size_median']:g}, Gini {figures['size_gini']:.2f}",
    ]
    charts = [client_sizes(table)]
    if table.groups:
        lines.append(
            f"mean distance of a client's {table.groups} from the mix of all: "
            f"{figures['label_tv_mean']:.2f} (0: all alike); "
            f"{figures['labels_per_client_mean']:.1f} {table.groups} per client"
        )
        charts.append(label_skew(table))
    return Section(charts=[*charts, *target_ranges(table)], lines=lines)


def participation(run: RunFacts) -> Section | None:
    """Return which clients took part in which rounds, and the clients with the most examples."""
    if not run.clients:
        return None
    clients = totals(run.clients)
    drawn = evenly_spaced(clients, _MOST_DRAWN)
    reported = {client.client_id: client.rounds for client in drawn}
    chart = participation_chart(
        f"Rounds of {shown_of(len(drawn), len(clients))} clients",
        reported,
        _missed_rounds(run.clients, reported.keys()),
        max(row.round_num for row in run.clients),
    )
    examples = sum(client.examples for client in clients)
    rounds = [len(client.rounds) for client in clients]
    lines = [
        f"{np.count_nonzero(rounds)} clients reported; rounds per client: {min(rounds)} to "
        f"{max(rounds)}, median {np.median(rounds):g}",
        f"{examples:,} examples processed, each epoch counted; "
        f"{sum(client.failed for client in clients)} times a client was asked and did not report",
    ]
    return Section(charts=[chart], lines=lines, table=_largest_shares(clients, examples))


def _missed_rounds(
    rows: Sequence[ClientRound], client_ids: Collection[str]
) -> dict[str, list[int]]:
    """Return the rounds in which each of these clients was asked and did not report."""
    missed = defaultdict(list)
    for row in sorted(rows):
        if row.status != REPORTED and row.client_id in client_ids:
            missed[row.client_id].append(row.round_num)
    return missed


def _largest_shares(clients: Sequence[ClientTotal], examples: int) -> Table:
    """Return the clients that processed the most of all `examples`."""
    largest = sorted(clients, key=lambda client: (-client.examples, client.client_id))
    rows = [
        [
            client.client_id,
            spans(client.rounds) or "none",
            str(client.failed),
            f"{client.examples:,}",
            f"{client.examples / max(examples, 1):.1%}",
        ]
        for client in largest[:_MOST_ROWS]
    ]
    columns = ["client", "reported in rounds", "did not report", "examples", "share of all"]
    return Table(columns, rows, len(clients))
