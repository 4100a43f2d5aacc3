"""The report as one HTML file that holds all it needs: no script, no network, in light and in dark,
by keyboard and on paper.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fedpipe import __version__
from fedpipe.figures import charts
from fedpipe.figures.svg import Chart
from fedpipe.report import cards, client_cards, facts, sweep_cards
from fedpipe.report.facts import RunFacts, differing

_ID = 8


def render(runs: Sequence[RunFacts]) -> str:
    """Return the page of one run, or of several side by side, what differs in their settings first.
    The same runs give the same bytes.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("fedpipe.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = labels(runs)
    settings = [
        (key, [run.params.get(key) for run in runs])
        for key in sorted({key for run in runs for key in run.params})
    ]
    machines = [cards.environment(run) for run in runs]
    sections = [_sections(run, name) for run, name in zip(runs, names, strict=True)]
    return environment.get_template("report.html").render(
        version=__version__,
        names=names,
        title=names[0] if len(runs) == 1 else f"{len(runs)} runs: {', '.join(names)}",
        tiles=_tiles(runs[0]) if len(runs) == 1 else [],
        differs=differing(runs),
        settings=settings,
        environment=[
            (key, [machine.get(key) for machine in machines])
            for key in sorted({key for one in machines for key in one})
        ],
        doubts=[(name, cards.doubts(run)) for run, name in zip(runs, names, strict=True)],
        summary=_side_by_side([cards.summary(run) for run in runs]),
        curves=cards.run_curves(runs[0]) if len(runs) == 1 else _compared_curves(runs, names),
        runs=sections,
        sweeps=[one for one in sections if one["sweep"]],
        trained=[one for one in sections if not one["sweep"]],
        same_data=_same_data([run for run in runs if run.sweep is None]),
    )


def labels(runs: Sequence[RunFacts]) -> list[str]:
    """Return what to call each run: its name, with the start of its id where two have the same."""
    count = Counter(run.name for run in runs)
    return [
        run.name if count[run.name] == 1 else f"{run.name} ({run.run_id[:_ID]})" for run in runs
    ]


_PARTS: tuple[tuple[str, str, Callable[[RunFacts], Any]], ...] = (
    ("accuracies", facts.ACCURACIES, client_cards.client_accuracy),
    ("confusion", facts.CONFUSION, client_cards.confusion),
    ("population", facts.POPULATION, client_cards.population),
    ("participation", facts.CLIENTS, client_cards.participation),
)


def _sections(run: RunFacts, name: str) -> dict[str, Any]:
    drawn: dict[str, Any] = {
        "name": name,
        "chain": cards.chain(run),
        "rounds": cards.round_table(run),
        "timing": cards.timing(run),
    }
    drawn["sweep"] = sweep_cards.sweep(run)
    for key, part, draw in _PARTS:
        body = draw(run)
        drawn[key] = {"body": body, "missing": None if body else run.why_missing(part)}
    drawn["no_rounds"] = run.why_missing(facts.ROUNDS)
    drawn["no_pictures"] = run.missing.get(facts.MISTAKES)
    drawn["no_timing"] = run.missing.get(facts.TIMING)
    return drawn


def _same_data(runs: Sequence[RunFacts]) -> bool:
    """Return whether the first run's population may stand for that of all."""
    return (
        len(runs) > 1
        and len({run.tags.get("dvc.data_md5") for run in runs}) == 1
        and runs[0].population is not None
    )


def _tiles(run: RunFacts) -> list[tuple[str, str, str]]:
    """Return the few figures that a reader looks for first: name, value, what it was before."""
    found = []
    for key, name in (("test/accuracy", "test accuracy"), ("test/loss", "test loss")):
        value = run.result(key)
        before = run.before(key)
        if value is not None:
            found.append(
                (
                    name,
                    f"{value:.4f}",
                    f"before training {before:.4f}" if before is not None else "",
                )
            )
    worst = run.result("participating/accuracy_worst_decile")
    mean = run.result("participating/accuracy_mean")
    if worst is not None and mean is not None:
        found.append(
            (
                "worst tenth of the clients",
                f"{worst:.4f}",
                f"accuracy; mean over clients {mean:.4f}",
            )
        )
    if run.rounds:
        found.append(
            ("rounds", f"{run.rounds[-1]['round']:g}", f"of {run.params.get('rounds', '?')}")
        )
    if "privacy.epsilon" in run.tags:
        found.append(
            ("epsilon", cards.epsilon(run.tags), f"for delta {run.tags.get('privacy.delta', '?')}")
        )
    if run.end_ms is not None:
        found.append(("took", cards.duration((run.end_ms - run.start_ms) / 1000), "MLflow run"))
    return found


def _side_by_side(
    summaries: Sequence[Sequence[tuple[str, str]]],
) -> list[tuple[str, list[str | None]]]:
    found: list[Mapping[str, str]] = [dict(one) for one in summaries]
    order = list(dict.fromkeys(key for one in summaries for key, _ in one))
    return [(key, [one.get(key) for one in found]) for key in order]


def _compared_curves(runs: Sequence[RunFacts], names: Sequence[str]) -> list[Chart]:
    drawn = []
    for split, of in (
        ("test", "central test set"),
        ("validation", "validation"),
        ("train", "while training"),
    ):
        for key, title, label in (
            ("accuracy", "Accuracy", "fraction"),
            ("loss", "Loss", "cross-entropy (nats)"),
        ):
            lines = [
                charts.Curve(name, cards.points(run, f"{split}/{key}"))
                for run, name in zip(runs, names, strict=True)
            ]
            drawn.append(charts.curves(f"{title}, {of}", lines, label))
    lines = [
        charts.Curve(name, cards.points(run, "privacy/epsilon"))
        for run, name in zip(runs, names, strict=True)
    ]
    drawn.append(charts.curves("Epsilon spent", lines, "epsilon", 0))
    return [chart for chart in drawn if chart is not None]
