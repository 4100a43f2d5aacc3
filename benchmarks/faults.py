"""What happens to a run when something fails: the faults are made for real in a scratch clone, and what is lost is counted.

`python -m benchmarks.faults --json`; docs/benchmarks.md says how to read it. The cases are in `benchmarks/lib/fault_cases/`.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.lib.common import BenchmarkError, console, machine, show_json, show_table
from benchmarks.lib.fault_cases.cancel import cancelled
from benchmarks.lib.fault_cases.clients import failing_clients
from benchmarks.lib.fault_cases.clone import Clone, Outcome, failed
from benchmarks.lib.fault_cases.disks import artifacts_full, checkpoints_full, shards_full
from benchmarks.lib.fault_cases.kills import killed, told_to_end
from benchmarks.lib.fault_cases.machine import (
    NotHere,
    clock_jumps,
    damaged_client_file,
    no_network,
    read_only_home,
)
from benchmarks.lib.fault_cases.stock import stock_faults
from benchmarks.lib.fault_cases.stores import (
    database_locked,
    five_at_once,
    server_away,
    server_gone,
)
from benchmarks.lib.fault_cases.workers import FAULTS, worker_fault, worker_then_run
from benchmarks.lib.processes import end_what_was_started

KILLS, AWAY_SECONDS = 20, 60.0
SHORT_ROUNDS = 10
GROUPS = ("kills", "signals", "workers", "stores", "disk", "clients", "machine", "stock")


def cases(
    clone: Clone, folder: Path, groups: Sequence[str], kills: int, seed: int
) -> "Iterator[Iterator[Outcome]]":
    """Return the cases of the groups, each as an iterator over its outcomes; nothing is made before it is asked for."""
    if "kills" in groups:
        yield killed(clone, kills, seed)
    if "signals" in groups:
        for number in (signal.SIGINT, signal.SIGTERM):
            yield _one(number.name, lambda number=number: told_to_end(clone, number))  # type: ignore[misc]
        yield _one("cancelled in Prefect", lambda: cancelled(clone, folder / "cancel"))
    if "workers" in groups:
        for fault in FAULTS:
            yield _one(f"worker {fault}", lambda fault=fault: worker_fault(clone, fault))  # type: ignore[misc]
    if "stores" in groups:
        yield _one(
            "MLflow server away for a while",
            lambda: server_away(clone, folder / "away", AWAY_SECONDS),
        )
        yield _one("MLflow server gone for good", lambda: server_gone(clone, folder / "gone"))
        yield _one("SQLite store locked", lambda: database_locked(clone))
        yield _one("five runs at once", lambda: five_at_once(clone, folder / "five"))
    if "disk" in groups:
        yield _one("disk full: checkpoints", lambda: checkpoints_full(clone))
        yield _one("disk full: artifacts", lambda: artifacts_full(clone))
        yield _one("disk full: shards", lambda: shards_full(clone))
    if "clients" in groups:
        yield _one("failing clients", lambda: failing_clients(clone))
    if "machine" in groups:
        yield _one("damaged client files", lambda: damaged_client_file(clone))
        yield _one("no network", lambda: no_network(clone))
        yield _one("home read-only", lambda: read_only_home(clone, folder / "home-read-only"))
        yield _one("clock jumps", lambda: clock_jumps(clone, folder / "clock"))


def made(folder: Path, groups: Sequence[str], kills: int, seed: int) -> Iterator[Outcome]:
    """Make the faults of the groups in a clone, and return what became of each as it is known."""
    if set(groups) - {"stock"}:
        clone = Clone(folder / "clone")
        clone.undisturbed()
        for case in cases(clone, folder, groups, kills, seed):
            yield from case


def _one(name: str, make: Callable[[], Outcome]) -> Iterator[Outcome]:
    try:
        yield make()
    except NotHere as err:
        console.print(f"{name}: left out: {err}", markup=False)
    except (BenchmarkError, OSError, KeyError, ValueError) as err:
        yield failed(name, err)


def short(folder: Path) -> Iterator[Outcome]:
    """Make two faults in one run, beside the undisturbed one: for the time that a test has."""
    yield from worker_then_run(Clone(folder / "clone", SHORT_ROUNDS))


def totals(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Return the counts over all faults.

    >>> totals([Outcome("one", True, weights_equal=True), Outcome("two", False, steps_lost=3)])
    {'made': 2, 'survived': 1, 'steps_lost': 3, 'steps_doubled': 0, 'orphans': 0, 'weights_equal': 1}
    """
    return {
        "made": len(outcomes),
        "survived": sum(one.survived for one in outcomes),
        "steps_lost": sum(one.steps_lost for one in outcomes),
        "steps_doubled": sum(one.steps_doubled for one in outcomes),
        "orphans": sum(one.orphans for one in outcomes),
        "weights_equal": sum(one.weights_equal for one in outcomes),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 1 if a fault was not survived, 2 if it could not be run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument(
        "--json", action="store_true", help="print the result to stdout as one line of JSON"
    )
    parser.add_argument(
        "--only", metavar="GROUPS", help=f"which of {','.join(GROUPS)} (default: all)"
    )
    parser.add_argument("--kills", type=int, help=f"kills at random moments (default: {KILLS})")
    parser.add_argument("--seed", type=int, default=1, help="of the random moments")
    parser.add_argument(
        "--short",
        action="store_true",
        help="a worker and then the whole run are killed, nothing else",
    )
    options = parser.parse_args(arguments)
    groups = options.only.split(",") if options.only else () if options.short else GROUPS
    unknown = set(groups) - set(GROUPS)
    if unknown:
        parser.error(
            f"--only: expected some of {', '.join(GROUPS)}, found {', '.join(sorted(unknown))}"
        )
    kills = options.kills if options.kills is not None else KILLS
    end_what_was_started()
    about, outcomes = machine(), []
    stock: dict[str, Any] = {}
    try:
        with tempfile.TemporaryDirectory(prefix="fedpipe-faults-") as name:
            folder = Path(name)
            for outcome in (
                short(folder) if options.short else made(folder, groups, kills, options.seed)
            ):
                outcomes.append(outcome)
                console.print(
                    f"{outcome.fault}: {'survived' if outcome.survived else 'NOT SURVIVED'}. {outcome.note}",
                    markup=False,
                )
            if "stock" in groups:
                (folder / "stock").mkdir()
                stock = stock_faults(folder / "stock")
    except BenchmarkError as err:
        console.print(str(err), markup=False, style="red")
        return 2
    counts = totals(outcomes)
    show_table("all faults", list(counts), [[str(count) for count in counts.values()]])
    for fault, what in stock.items():
        console.print(
            f"stock TFF, worker {fault}: {what['note']}, {what['seconds']:.1f} s", markup=False
        )
    if options.json:
        show_json(
            {
                "faults": [asdict(one) for one in outcomes],
                "machine": about,
                **counts,
                "stock": stock,
            }
        )
    return 0 if counts["survived"] == counts["made"] else 1


if __name__ == "__main__":
    sys.exit(main())
