"""The result of a study as files: JSON, CSV, LaTeX and a page."""

import json
from collections.abc import Sequence
from pathlib import Path

from fedpipe.figures.charts import Curve, curves
from fedpipe.figures.picture_file import chart_style
from fedpipe.figures.svg import Chart
from fedpipe.study.results import Cell, Comparison, StudyResult, condition_text
from fedpipe.system.atomic_files import write_atomic
from fedpipe.tables.csv_text import csv_text

_ALL = "all runs"


def write_results(result: StudyResult, folder: Path) -> dict[str, Path]:
    """Write all files to `folder` and return them by kind; the same result gives the same bytes."""
    texts = {
        "study.json": json.dumps(result.to_json(), indent=1) + "\n",
        "cells.csv": cells_csv(result),
        "comparisons.csv": comparisons_csv(result),
        "study.tex": latex(result),
        "study.html": page(result),
    }
    for name, text in texts.items():
        write_atomic(folder / name, text)
    return {name: folder / name for name in texts}


def cells_csv(result: StudyResult) -> str:
    """Return a row for each arm and condition."""
    keys = _keys(result.cells)
    rows = [
        [
            cell.arm,
            *(cell.condition[key] for key in keys),
            cell.summary.seeds,
            cell.summary.mean,
            cell.summary.std,
            *(cell.summary.ci95 or (None, None)),
        ]
        for cell in result.cells
    ]
    return csv_text(["arm", *keys, "seeds", "mean", "std", "ci95_low", "ci95_high"], rows)


def comparisons_csv(result: StudyResult) -> str:
    """Return a row for each pair of arms in each condition."""
    keys = _keys(result.comparisons)
    rows = [
        [
            pair.a,
            pair.b,
            *(pair.condition[key] for key in keys),
            pair.difference.mean,
            *pair.difference.ci95,
            pair.difference.p,
            pair.p_corrected,
            pair.difference.effect_size,
            pair.difference.detectable,
            pair.verdict,
        ]
        for pair in result.comparisons
    ]
    names = [
        "difference",
        "ci95_low",
        "ci95_high",
        "p",
        "p_corrected",
        "effect_size",
        "detectable",
        "verdict",
    ]
    return csv_text(["a", "b", *keys, *names], rows)


def latex(result: StudyResult) -> str:
    """Return the cells as a table of LaTeX with booktabs: a row for each condition, a column for
    each arm.

    Mean and standard deviation; an arm that is better than another in a corrected test has the
    number of those that it is better than in a superscript.
    """
    arms = list(dict.fromkeys(cell.arm for cell in result.cells))
    conditions = list(dict.fromkeys(condition_text(cell.condition) for cell in result.cells))
    cells = {(cell.arm, condition_text(cell.condition)): cell for cell in result.cells}
    lines = [
        f"% {_escaped(result.metric)}: mean and standard deviation of {len(result.seeds)} seeds; "
        f"the superscript "
        "counts the arms that this one is better than (corrected p < 0.05).",
        f"\\begin{{tabular}}{{l{'r' * len(arms)}}}",
        "\\toprule",
        " & ".join(["", *map(_escaped, arms)]) + " \\\\",
        "\\midrule",
    ]
    for condition in conditions:
        row = [_escaped(condition or _ALL)]
        for arm in arms:
            summary = cells[arm, condition].summary
            wins = sum(
                pair.verdict == f"{arm} is better" and condition_text(pair.condition) == condition
                for pair in result.comparisons
            )
            spread = f" \\pm {summary.std:.4f}" if summary.std is not None else ""
            row.append(f"${summary.mean:.4f}{spread}{f'^{{{wins}}}' if wins else ''}$")
        lines.append(" & ".join(row) + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def page(result: StudyResult) -> str:
    """Return the result as one HTML file that needs no network."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    jinja = Environment(
        loader=PackageLoader(__name__.rpartition(".")[0]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return jinja.get_template("study.html").render(
        result=result,
        chart_style=chart_style(),
        charts=round_charts(result),
        condition_text=condition_text,
        all_runs=_ALL,
    )


def round_charts(result: StudyResult) -> list[Chart]:
    """Return for each condition the arms' mean by round, with the band of its 95 % interval."""
    charts = []
    for condition, by_arm in result.curves.items():
        lines = [
            Curve(
                arm,
                [(x, mean) for x, mean, _ in points],
                band=[(x, mean - half, mean + half) for x, mean, half in points],
            )
            for arm, points in by_arm.items()
        ]
        title = f"{result.metric} by round" + (f", {condition}" if condition else "")
        charts.append(curves(title, lines, result.metric))
    return [chart for chart in charts if chart is not None]


def _keys(items: Sequence[Cell] | Sequence[Comparison]) -> list[str]:
    return list(items[0].condition) if items else []


def _escaped(text: str) -> str:
    for letter in "\\&%$#_{}":
        text = text.replace(letter, f"\\{letter}")
    return text
