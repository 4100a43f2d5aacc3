"""The summary of a run: its result, how it was trained, its warnings."""

from collections.abc import Mapping
from datetime import UTC, datetime

from fedpipe.report.facts import RunFacts
from fedpipe.tables.shown_task import metric_words
from fedpipe.tables.texts import number, setting_text
from fedpipe.tracking.sweeps import SweepView
from fedpipe.tracking.tags import (
    BEST_ROUND,
    BIT_EXACT,
    DVC_DATA_MD5,
    INCOMPLETE,
    LAST_ROUND,
    LAST_SHA256,
    PRIVACY_DELTA,
    PRIVACY_EPSILON,
    STATUS_REASON,
    WARNINGS,
)

_HASH_LETTERS = 12
_PRIVACY = {
    "privacy.accountant": "accountant",
    "privacy.noise": "noise",
    "privacy.covers": "epsilon covers",
}
_IDENTITY = {
    LAST_SHA256: "weights (SHA-256)",
    BIT_EXACT: "repeats to the bit",
}


def summary(run: RunFacts) -> dict[str, str]:
    """Return the run in a few lines: name and value."""
    status = run.status.lower()
    if STATUS_REASON in run.tags:
        status = f"{status}: {run.tags[STATUS_REASON]}"
    rows = {"status": status, "began": moment(run.start_ms)}
    if run.seconds_taken is not None:
        rows["took"] = duration(run.seconds_taken)
    if run.sweep is not None:
        return rows | _sweep_summary(run.sweep, run.params)
    return rows | _training_summary(run) | _result_summary(run) | _tag_summary(run)


def tiles(run: RunFacts) -> list[tuple[str, str, str]]:
    """Return the few figures that a reader looks for first: name, value, note."""
    rows = []
    for metric in run.task.main_metrics:
        value = run.result(f"test/{metric}")
        if value is not None:
            note = _filled("before training {:.4f}", run.before(f"test/{metric}"))
            rows.append((f"test {metric_words(metric)}", f"{value:.4f}", note))
    worst, mean = _over_clients(run)
    if worst is not None and mean is not None:
        note = f"{metric_words(run.task.metric)}; mean over clients {mean:.4f}"
        rows.append(("worst tenth of the clients", f"{worst:.4f}", note))
    if run.rounds:
        note = f"of {run.params.get('rounds', '?')}"
        rows.append(("rounds", f"{run.rounds[-1]['round']:g}", note))
    if PRIVACY_EPSILON in run.tags:
        note = f"for delta {run.tags.get(PRIVACY_DELTA, '?')}"
        rows.append(("epsilon", epsilon(run.tags), note))
    if run.seconds_taken is not None:
        rows.append(("took", duration(run.seconds_taken), "MLflow run"))
    return rows


def warnings(run: RunFacts) -> list[tuple[str, str]]:
    """Return the run's warnings and what could not be recorded, each as (kind, text)."""
    kinds = {"Warning": WARNINGS, "Not recorded": INCOMPLETE}
    return [
        (kind, line) for kind, tag in kinds.items() for line in run.tags.get(tag, "").splitlines()
    ]


def epsilon(tags: Mapping[str, str]) -> str:
    """Return the epsilon of a private run in short; without noise it is the word `infinite`."""
    try:
        return number(float(tags[PRIVACY_EPSILON]))
    except ValueError:
        return tags[PRIVACY_EPSILON]


def moment(milliseconds: int) -> str:
    """Return a time in words.

    >>> moment(0)
    '1970-01-01 00:00 UTC'
    """
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def duration(seconds: float) -> str:
    """Return a time span in words.

    >>> duration(0.0139), duration(3.25), duration(75.2), duration(7300)
    ('13.9 ms', '3.2 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, whole_seconds = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {whole_seconds} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _training_summary(run: RunFacts) -> dict[str, str]:
    params = run.params
    data_md5 = run.tags.get(DVC_DATA_MD5, "?")[:_HASH_LETTERS]
    return {
        "algorithm": f"{params.get('algorithm.name', '?')} on {params.get('model.name', '?')}",
        "rounds": _rounds(run),
        "data": f"{params.get('data.source', '?')}, DVC md5 {data_md5}",
    }


def _result_summary(run: RunFacts) -> dict[str, str]:
    rows = {}
    task = run.task
    for metric in task.main_metrics:
        key = f"test/{metric}"
        value = run.result(key)
        if value is not None:
            name = f"test {metric_words(metric)}"
            if metric == "loss" and task.unit(metric).endswith("(nats)"):
                name = f"{name} (nats)"
            rows[name] = f"{value:.4f}" + _filled(", {:.4f} before training", run.before(key))
    if run.chosen == "best":
        best_round = run.tags.get(BEST_ROUND, "?")
        rows["result of"] = f"round {best_round}, which validation chose"
    worst, mean = _over_clients(run)
    if worst is not None and mean is not None:
        name = f"{metric_words(task.metric)} over clients"
        rows[name] = f"mean {mean:.4f}, worst tenth {worst:.4f}"
    return rows


def _over_clients(run: RunFacts) -> tuple[float | None, float | None]:
    """Return the metric that chooses of the worst tenth of the participating clients, and its
    mean.
    """
    key = f"participating/{run.task.metric}"
    return run.result(f"{key}_worst_decile"), run.result(f"{key}_mean")


def _tag_summary(run: RunFacts) -> dict[str, str]:
    rows = {}
    if PRIVACY_EPSILON in run.tags:
        rows["privacy"] = _privacy(run.tags)
        rows |= _named(run.tags, _PRIVACY)
        total = run.lineage.privacy_total
        if total:
            rows["privacy of all runs on these clients"] = total.sentence()
    return rows | _named(run.tags, _IDENTITY)


def _named(tags: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that have names, under these names."""
    return {name: tags[tag] for tag, name in names.items() if tag in tags}


def _privacy(tags: Mapping[str, str]) -> str:
    """Return epsilon, delta and what they assume."""
    assumptions = ("privacy.neighbours", "privacy.sampling")
    text = f"epsilon {epsilon(tags)} for delta {tags.get(PRIVACY_DELTA, '?')}"
    return "; ".join([text, *(tags[key] for key in assumptions if key in tags)])


def _sweep_summary(sweep: SweepView, params: Mapping[str, str]) -> dict[str, str]:
    """Return the searched settings of a sweep, its metric and its best trial."""
    searched = ", ".join(sweep.keys)
    if "sweep.search" in params:
        searched = f"{searched} ({params['sweep.search']})"
    rows = {
        "sweep": f"{len(sweep.trials)} runs with different settings",
        "searched settings": searched,
        "judged by": f"{sweep.metric}, {sweep.direction}",
    }
    if "sweep.params" in params:
        rows["other settings"] = params["sweep.params"]
    best = sweep.best
    if best is not None and best.value is not None:
        settings = ", ".join(f"{key} {setting_text(best.params.get(key))}" for key in sweep.keys)
        rows["best run"] = (
            f"{best.name or best.number}: {sweep.metric} {number(best.value)} with {settings}"
        )
    return rows


def _filled(template: str, value: float | None) -> str:
    """Return a template with a number in it; without a number an empty text."""
    return "" if value is None else template.format(value)


def _rounds(run: RunFacts) -> str:
    planned = str(run.params.get("rounds"))
    done = run.tags.get(LAST_ROUND)
    if done is None and run.rounds:
        done = number(run.rounds[-1]["round"])
    if done is None or done == planned:
        return planned
    return f"{done} of {planned}"
