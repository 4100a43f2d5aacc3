"""Step `describe`: what the shards hold, as figures, tables for DVC's plots, and pictures."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedpipe.system.atomic_files import write_atomic

if TYPE_CHECKING:
    from fedpipe.data.manifest import Manifest
    from fedpipe.data.population import Population
    from fedpipe.tables.population import PopulationTable, TargetRanges

_TABLE_CLIENTS = 100
"""Clients in the table of labels, taken at even steps: what DVC's heat map can show."""
_TABLE_LABELS = 100
"""Labels in that table, the most frequent ones."""
_TABLE_ROWS = 10_000
"""Rows of that table, about: DVC's heat map counts rows; of more examples each count is scaled down
alike.
"""


_MOST_LINES = 8
"""Lines of what was left out, and as many of notes, that `understood_lines` returns."""


def understood_lines(manifest: "Manifest") -> list[str]:
    """Return what `prepare` understood of the source, one line for each subject: files, features,
    counts, what was left out.
    """
    understood = manifest.understood
    lines = [understood.format if understood else f"source {manifest.source}"]
    shape = " x ".join(map(str, manifest.feature_shape))
    size = f"up to {shape}" if manifest.variable_length else shape
    features = understood.features if understood and understood.features else "features"
    lines.append(f"features: {features} ({size}, {manifest.feature_dtype})")
    rows = sum(manifest.examples.values())
    lines.append(
        f"{rows:,} examples, {manifest.clients:,} clients ({manifest.partition}), "
        f"{manifest.labels_in_words}{_names_of_labels(manifest)}"
    )
    lines += target_lines(manifest)
    steps = manifest.steps
    lines += [f"step {line}" for line in (steps.lines() if steps is not None else ())]
    left_out = understood.left_out if understood else ()
    notes = (*(understood.notes if understood else ()), *manifest.notes)
    for title, texts in (("left out", left_out), ("note", notes)):
        lines += [f"{title}: {text}" for text in texts[:_MOST_LINES]]
        if len(texts) > _MOST_LINES:
            lines.append(f"{title}: {len(texts) - _MOST_LINES} more, see manifest.json")
    return lines


def _names_of_labels(manifest: "Manifest") -> str:
    """Return the first names of the labels after a colon; nothing of tokens."""
    names = manifest.vocabulary or tuple(map(str, range(manifest.num_classes)))
    if manifest.targets is not None:
        names = manifest.targets.names
    if not names:
        return ""
    shown = ", ".join(name if len(name) <= 30 else f"{name[:27]}..." for name in names[:5])
    more = f" (+{len(names) - 5})" if len(names) > 5 else ""
    positive = f" (positive: {names[1]})" if manifest.kind == "binary" else ""
    return f": {shown}{more}{positive}"


def target_lines(manifest: "Manifest") -> list[str]:
    """Return one line for each target of regression, its values over the training examples; none of
    other kinds.
    """
    if manifest.targets is None:
        return []
    pairs = list(zip(manifest.targets.names, manifest.targets.ranges, strict=False))
    lines = [
        f"target {name}: mean {values.mean:.6g}, std {values.std:.6g}, {values.min:.6g} to "
        f"{values.max:.6g} (training examples)"
        for name, values in pairs[:_MOST_LINES]
    ]
    if len(pairs) > _MOST_LINES:
        lines.append(f"target: {len(pairs) - _MOST_LINES} more, see manifest.json")
    return lines


def write_tables(population: "Population", out: Path) -> None:
    """Write `sizes.csv` (the histogram of client sizes) and `labels.csv` (client and label of an
    example a row).

    Args:
        population: the clients.
        out: folder, made if it is not there.
    """
    from fedpipe.data.skew import describe

    figures = describe(population.index)
    index = population.index
    sizes: list[list[Any]] = [
        ["examples", "clients"],
        *([f"{start:g}-{end:g}", clients] for start, end, clients in figures.histogram),
    ]
    names: Sequence[str] = label_names(population)
    step = -(-len(index.client_ids) // _TABLE_CLIENTS)
    label_counts = index.label_counts["train"].rows(np.arange(0, len(index.client_ids), step))
    shown = label_counts.most_frequent(_TABLE_LABELS)
    names = [names[label] for label in shown.tolist()]
    counts = label_counts.dense(shown)
    thinned = np.ceil(counts * min(1.0, _TABLE_ROWS / max(1, counts.sum()))).astype(int)
    rows_of = zip(index.client_ids[::step], thinned.tolist(), strict=True)
    labels: list[list[Any]] = [
        ["client", "label"],
        *(
            [client, names[i]]
            for client, row in rows_of
            for i, n in enumerate(row)
            for _ in range(n)
        ),
    ]
    for name, rows in (("sizes.csv", sizes), ("labels.csv", labels)):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        write_atomic(out / name, text.getvalue())


def write_pictures(population: "Population", out: Path) -> list[Path]:
    """Write `client_sizes.svg`, `label_skew.svg` and of a regression `target_ranges.svg` into the
    folder `out` and return their paths. Tokens have no labels.
    """
    from fedpipe.figures import population_charts
    from fedpipe.figures.picture_file import write_picture

    table = _table(population)
    charts = {out / "client_sizes.svg": [population_charts.client_sizes(table)]}
    if table.groups:
        charts[out / "label_skew.svg"] = [population_charts.label_skew(table)]
    if table.targets:
        charts[out / "target_ranges.svg"] = population_charts.target_ranges(table)
    for path, pictures in charts.items():
        write_picture(pictures, path)
    return list(charts)


def write_population(population: "Population", path: Path) -> Path:
    """Write what a report shows of the population, as JSON, and return the path."""
    from fedpipe.tables.population import population_json

    write_atomic(path, population_json(_table(population)))
    return path


def class_names(population: "Population") -> tuple[str, ...]:
    """Return the names of the classes that a model tells apart: those of the labels, or the numbers
    of the tokens.
    """
    manifest = population.manifest
    if manifest.kind == "tokens":
        return tuple(map(str, range(manifest.outputs)))
    return label_names(population)


def _table(population: "Population") -> "PopulationTable":
    from fedpipe.data.skew import describe
    from fedpipe.tables.population import population_table

    index = population.index
    counts = index.label_counts["train"]
    return population_table(
        describe(index),
        counts,
        label_names(population),
        group_words(population.manifest),
        target_ranges(population),
    )


def group_words(manifest: "Manifest") -> str:
    """Return what the groups are that are counted at each client."""
    match manifest.kind:
        case "regression" if manifest.targets is not None:
            return f"tenths of {manifest.targets.names[0]}"
        case "multilabel":
            return "first labels"
        case "tokens":
            return ""
        case _:
            return "labels"


def target_ranges(population: "Population") -> "list[TargetRanges]":
    """Return the training values of the first targets of a regression at the shown clients; of
    other kinds none.
    """
    from fedpipe.tables.population import MOST_TARGETS, QUANTILES, TargetRanges, shown_clients

    targets = population.manifest.targets
    if targets is None or targets.kind != "regression":
        return []
    index = population.index
    names = targets.names[:MOST_TARGETS]
    quantiles = []
    for number in shown_clients(index.label_counts["train"]).tolist():
        values = population.examples(index.client_ids[number], "train").y
        quantiles.append(np.quantile(values[:, : len(names)], QUANTILES, axis=0))
    columns = np.array(quantiles, np.float64).transpose(2, 0, 1)
    return [TargetRanges(name, column) for name, column in zip(names, columns, strict=True)]


def label_names(population: "Population") -> tuple[str, ...]:
    """Return the names of the labels, or of the groups that stand for them: the vocabulary, or
    their numbers.
    """
    manifest = population.manifest
    return manifest.vocabulary or tuple(map(str, range(manifest.num_classes)))
