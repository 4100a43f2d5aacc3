"""What the report says of one run in each of its sections, ready for the template: text, charts,
tables. Nothing here is HTML yet.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from fedpipe.figures import charts
from fedpipe.figures.axis import words
from fedpipe.figures.svg import Chart, number
from fedpipe.report.facts import RunFacts, Sweep

_ROWS = 100
"""Rounds in the table of rounds, at most."""
_SHORT = 12
_PRIVACY = (
    ("accountant", "privacy.accountant"),
    ("noise", "privacy.noise"),
    ("epsilon covers", "privacy.covers"),
)


def summary(run: RunFacts) -> list[tuple[str, str]]:
    """Return the run in a few lines: name and value."""
    tags = run.tags
    params = run.params
    rows = [
        (
            "status",
            run.status.lower()
            + (f": {tags['fedpipe.status_reason']}" if "fedpipe.status_reason" in tags else ""),
        )
    ]
    rows.append(("began", moment(run.start_ms)))
    if run.end_ms is not None:
        rows.append(("took", duration((run.end_ms - run.start_ms) / 1000)))
    if run.sweep is not None:
        return rows + _sweep_summary(run.sweep, params)
    rows.append(
        ("algorithm", f"{params.get('algorithm.name', '?')} on {params.get('model.name', '?')}")
    )
    rows.append(("rounds", _rounds(run)))
    rows.append(
        (
            "data",
            f"{params.get('data.source', '?')}, DVC md5 "
            f"{str(tags.get('dvc.data_md5', '?'))[:_SHORT]}",
        )
    )
    for key, label, scale in (
        ("test/accuracy", "test accuracy", 1.0),
        ("test/loss", "test loss (nats)", 1.0),
    ):
        after = run.result(key)
        before = run.before(key)
        if after is not None:
            was = f", {before * scale:.4f} before training" if before is not None else ""
            rows.append((label, f"{after * scale:.4f}{was}"))
    if run.chosen == "best":
        rows.append(
            ("result of", f"round {tags.get('weights.best_round', '?')}, which validation chose")
        )
    worst = run.result("participating/accuracy_worst_decile")
    mean = run.result("participating/accuracy_mean")
    if worst is not None and mean is not None:
        rows.append(("accuracy over clients", f"mean {mean:.4f}, worst tenth {worst:.4f}"))
    if "privacy.epsilon" in tags:
        rows.append(("privacy", privacy(tags)))
        rows += [(label, tags[key]) for label, key in _PRIVACY if key in tags]
        total = run.chain.get("privacy_total")
        if total:
            rows.append(("privacy of all runs on these clients", total["text"]))
    if "weights.last_sha256" in tags:
        rows.append(("weights (SHA-256)", tags["weights.last_sha256"]))
    if "fedpipe.bit_exact" in tags:
        rows.append(("repeats to the bit", tags["fedpipe.bit_exact"]))
    return rows


def _sweep_summary(sweep: Sweep, params: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return what a sweep is: what it searches, how, by which metric, and its best child."""
    rows = [("sweep", f"{len(sweep.children)} runs with different settings")]
    search = params.get("sweep.search")
    rows.append(("searched settings", ", ".join(sweep.keys) + (f" ({search})" if search else "")))
    rows.append(("judged by", f"{sweep.metric}, {sweep.direction}"))
    if "sweep.params" in params:
        rows.append(("other settings", params["sweep.params"]))
    best = sweep.best
    if best is not None:
        point = ", ".join(f"{key} {words(best['params'].get(key))}" for key in sweep.keys)
        rows.append(
            (
                "best run",
                f"{best['name'] or best['number']}: {sweep.metric} {number(float(best['value']))} "
                f"with {point}",
            )
        )
    return rows


def doubts(run: RunFacts) -> list[tuple[str, str]]:
    """Return the run's warnings and the parts that could not be recorded, each as (what it is, its
    text).
    """
    warnings = [("Warning", line) for line in run.tags.get("fedpipe.warnings", "").splitlines()]
    missing = [
        ("Not recorded", line) for line in run.tags.get("fedpipe.incomplete", "").splitlines()
    ]
    return warnings + missing


def privacy(tags: Mapping[str, str]) -> str:
    """Return epsilon, delta and what they assume."""
    text = f"epsilon {epsilon(tags)} for delta {tags.get('privacy.delta', '?')}"
    assumed = [tags[key] for key in ("privacy.neighbours", "privacy.sampling") if key in tags]
    if assumed:
        return f"{text}; {'; '.join(assumed)}"
    return text


def epsilon(tags: Mapping[str, str]) -> str:
    """Return the epsilon of a private run in short; without noise it is the word `infinite`."""
    try:
        return number(float(tags["privacy.epsilon"]))
    except ValueError:
        return tags["privacy.epsilon"]


def chain(run: RunFacts) -> list[dict[str, Any]]:
    """Return the links from the commit to the model versions: what, id, notes, and an address where
    there is one.
    """
    found = run.chain
    git = found["git"]
    dvc = found["dvc"]
    prefect = found["prefect"]
    commit = git["commit"] if git["commit"] not in (None, "none") else None
    notes = [f"branch {git['branch']}"] if git["branch"] else []
    if git["dirty"]:
        notes.append(
            "with uncommitted changes, kept as lineage/dirty.patch"
            if git["patch"]
            else "with uncommitted changes"
        )
    links = [_link("git commit", commit, notes)]
    place = "in dvc.lock" if dvc["data_in_lock"] else "not in dvc.lock"
    links.append(
        _link(
            "data (DVC md5)",
            dvc["data_md5"],
            [str(found.get("data", {}).get("source") or ""), place],
        )
    )
    if dvc["experiment"]:
        links.append(_link("DVC experiment", dvc["experiment"], []))
    flow = [str(prefect["flow_run_name"])] if prefect["flow_run_id"] else ["this run had none"]
    links.append(_link("Prefect flow run", prefect["flow_run_id"], flow, prefect["url"]))
    links.append(_link("MLflow run", run.run_id, [run.name], run.url))
    for version in found.get("versions", ()):
        aliases = [f"@{alias}" for alias in version["aliases"]]
        clients = version["tags"].get("fedpipe.forgotten_clients")
        forgotten = [f"trained on forgotten clients {clients}"] if clients else []
        links.append(
            _link(
                "model version", f"{version['name']}/{version['version']}", [*aliases, *forgotten]
            )
        )
    if not found.get("versions"):
        links.append(_link("model version", None, ["none is registered"]))
    return links


def run_curves(run: RunFacts) -> list[Chart]:
    """Return accuracy, loss and, of private runs, epsilon by round: training, validation and
    test.
    """
    names = {
        "train": "train (cohort, while training)",
        "validation": "validation (pooled)",
        "test": "test (central set)",
    }
    drawn = [
        charts.curves(
            title,
            [charts.Curve(name, points(run, f"{split}/{key}")) for split, name in names.items()],
            label,
        )
        for title, key, label in (
            ("Accuracy", "accuracy", "fraction"),
            ("Loss", "loss", "cross-entropy (nats)"),
        )
    ]
    epsilon = [charts.Curve("epsilon", points(run, "privacy/epsilon"))]
    return [
        chart
        for chart in (*drawn, charts.curves("Epsilon spent", epsilon, "epsilon", 0))
        if chart is not None
    ]


def round_table(run: RunFacts) -> dict[str, Any] | None:
    """Return the table of rounds: columns, rows; of more than 100 rounds as many at even steps."""
    if not run.rounds:
        return None
    keys = sorted({key for row in run.rounds for key in row} - {"round"})
    chosen = np.unique(
        np.linspace(0, len(run.rounds) - 1, min(_ROWS, len(run.rounds))).astype(int)
    ).tolist()
    rows = [
        [
            number(run.rounds[i]["round"]),
            *(number(run.rounds[i][key]) if key in run.rounds[i] else "" for key in keys),
        ]
        for i in chosen
    ]
    return {"columns": ["round", *keys], "rows": rows, "of": len(run.rounds)}


def timing(run: RunFacts) -> dict[str, Any]:
    """Return seconds by phase, and by round."""
    each = points(run, "round/seconds")
    rows = [[name, duration(value)] for name, value in (run.seconds or {}).items()]
    if each:
        seconds = [value for _, value in each]
        rows.append(
            [
                "the rounds themselves, without evaluation",
                f"{duration(sum(seconds))} (median {duration(float(np.median(seconds)))})",
            ]
        )
    if run.end_ms is not None:
        rows.append(
            [
                "the MLflow run, from its begin to its end",
                duration((run.end_ms - run.start_ms) / 1000),
            ]
        )
    return {
        "rows": rows,
        "chart": charts.curves("Seconds a round", [charts.Curve("seconds", each)], "seconds", 0),
    }


def environment(run: RunFacts) -> dict[str, str]:
    """Return the machine, the versions and the runtime."""
    return {
        key: value
        for key, value in sorted(run.tags.items())
        if key.startswith(("host.", "version.", "runtime.", "git."))
    }


def points(run: RunFacts, key: str) -> list[tuple[float, float]]:
    """Return (round, value) of a metric."""
    return [(row["round"], row[key]) for row in run.rounds if key in row]


def moment(milliseconds: int) -> str:
    """Return a time. `moment(0)` is 1970-01-01 00:00 UTC."""
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def duration(seconds: float) -> str:
    """Return a time span for people.

    >>> duration(0.0139), duration(3.25), duration(75.2), duration(7300)
    ('13.9 ms', '3.2 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _rounds(run: RunFacts) -> str:
    done = run.tags.get("weights.last_round")
    planned = run.params.get("rounds")
    if done is None and run.rounds:
        done = number(run.rounds[-1]["round"])
    if done is not None and done != planned:
        return f"{done} of {planned}"
    return str(planned)


def _link(
    what: str, ident: str | None, notes: Sequence[str], url: str | None = None
) -> dict[str, Any]:
    """Return a link of the chain. Addresses come from tags, which anyone may write: what is no web
    address is not made a link.
    """
    safe = url if url and url.startswith(("http://", "https://")) else None
    return {"what": what, "id": ident, "notes": [note for note in notes if note], "url": safe}
