"""A client's update overflows in every round of a run: it is named, counted and left out."""

import sqlite3
from typing import Any

from benchmarks.lib.common import BenchmarkError
from tests.e2e.faults.clone import Clone, Outcome

BROKEN, CLIENTS, EXAMPLES, ROUNDS = "c2", 5, 40, 6


def failing_clients(clone: Clone) -> Outcome:
    """One of five clients has values near the largest float: the weights must be those of a run without it."""
    name = "failing clients"
    without = _train(clone, "without.csv", CLIENTS - 1)
    summary = _train(clone, "with.csv", CLIENTS)
    named = (
        f"1 of {CLIENTS} clients failed and take no part: {BROKEN} (its update or loss is not finite)"
        in clone.said
    )
    with sqlite3.connect(clone.database) as store:
        query = "SELECT step, value FROM metrics WHERE run_uuid = ? AND key = 'round/failed'"
        failed = dict(store.execute(query, (summary["run_id"],)).fetchall())
    store.close()
    equal = summary["weights_sha256"] == without["weights_sha256"]
    counted = failed == dict.fromkeys(range(1, ROUNDS + 1), 1.0)
    lost, orphans = ROUNDS - len(failed), clone.orphans()
    note = f"{BROKEN} {'was' if named else 'was not'} named, {'counted' if counted else f'not counted: {failed}'}"
    return Outcome(
        name,
        named and counted and equal and not orphans,
        steps_lost=lost,
        orphans=orphans,
        weights_equal=equal,
        note=note,
    )


def _train(clone: Clone, file: str, clients: int) -> dict[str, Any]:
    """Train on a CSV file of clients; the broken one is the one that the smaller file leaves out."""
    lines = ["client,label,one,two,three"]
    for client in [
        f"c{number}" for number in range(CLIENTS) if clients == CLIENTS or f"c{number}" != BROKEN
    ]:
        scale = 3e38 if client == BROKEN else 1.0
        lines += [
            f"{client},{i % 2},{scale * (i % 7) / 7:g},{scale * (i % 3) / 3:g},{i % 2}"
            for i in range(EXAMPLES)
        ]
    (clone.project / file).write_text("\n".join(lines) + "\n", encoding="ascii")
    settings = [
        f"rounds={ROUNDS}",
        "data.source=csv",
        f"data.path={file}",
        "data.clients=null",
        "data.feature_dtype=float32",
    ]
    settings += [
        "data.central_test_examples=10",
        f"cohort.size={clients}",
        "cohort.strategy=uniform",
        "client.shuffle=true",
    ]
    code = clone.command(
        "run", "--json", *(part for setting in settings for part in ("-S", setting))
    )
    if code:
        raise BenchmarkError(f"a run on {file} ended with {code}: {clone.said[-800:]}")
    return clone.answered
