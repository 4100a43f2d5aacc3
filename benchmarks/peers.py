"""Seconds per round: fedpipe, Flower's simulation, FedJAX and pfl-research, on the same work, taking turns in one run.

Each peer has its own venv (`peer_venvs`), made on the first use; one that cannot be installed or run is left out, with the
reason. `python -m benchmarks.peers --json`; docs/benchmarks.md says how to read it.
"""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.lib.common import (
    WORKS,
    BenchmarkError,
    System,
    Work,
    console,
    machine,
    make_job,
    module_command,
    show_json,
    show_table,
)
from benchmarks.lib.measured import ACCURACY_TOLERANCE, Measured
from benchmarks.lib.peer_venvs import PEERS, NotInstalled, Peer, installed, versions

OURS = ("fedpipe", "")
COMMON_ROUNDS = 3
"""Rounds after which accuracies are compared. The first is not timed: it traces, compiles and starts actors."""
TURNS = {"A": 10, "B": 5, "C": 5}
"""Turns of each system after the common rounds, each of at least one round."""

Key = tuple[str, str]
"""A system and one of its variants."""


def install_all(
    names: Sequence[str], venvs: Path, skipped: dict[str, str]
) -> dict[str, tuple[Peer, Path]]:
    """Return the peers called `names` with their interpreters; all others go to `skipped`, each with its reason."""
    ready = {}
    for peer in PEERS:
        if peer.name not in names:
            skipped[peer.name] = "not asked for (--only)"
            continue
        console.print(f"{peer.name}: installing, unless it is there", style="dim")
        try:
            ready[peer.name] = (peer, installed(peer, venvs))
        except NotInstalled as err:
            skipped[peer.name] = str(err)
    for name, reason in skipped.items():
        console.print(f"{name} is left out: {reason}", markup=False, style="yellow")
    return ready


class Contest:
    """The systems that are still in, on one work. A peer's variant that fails is ended and left out; fedpipe must not fail."""

    def __init__(self, work: Work) -> None:
        """Take the work."""
        self._work = work
        self.found: dict[Key, Measured] = {}
        self.failed: dict[str, str] = {}

    def each(self, action: Callable[[Measured], None]) -> None:
        """Do something with each system, one after another. Raises BenchmarkError if fedpipe fails."""
        for key in list(self.found):
            with self.left_out_on_failure(key):
                action(self.found[key])

    @contextmanager
    def left_out_on_failure(self, key: Key) -> Iterator[None]:
        """Leave out the variant `key` if the block fails."""
        try:
            yield
        except BenchmarkError as err:
            if key == OURS:
                raise
            measured = self.found.pop(key, None)
            if measured is not None:
                measured.system.close()
            self.failed[f"{self._work.key}: {' '.join(key)}"] = str(err)
            console.print(
                f"{self._work.title}: {' '.join(key)} is left out: {err}",
                markup=False,
                style="yellow",
            )

    def refuse_other_results(self) -> None:
        """Raise BenchmarkError unless all systems have fedpipe's accuracy."""
        ours = self.found[OURS].accuracy
        for key, measured in self.found.items():
            if abs(measured.accuracy - ours) > ACCURACY_TOLERANCE:
                raise BenchmarkError(
                    f"{self._work.title}: expected an accuracy within {ACCURACY_TOLERANCE} of fedpipe's {ours:.4f} after "
                    f"{COMMON_ROUNDS} rounds, found {measured.accuracy:.4f} by {' '.join(key)}: it does not do the same work."
                )


def measure(work: Work, peers: Mapping[str, tuple[Peer, Path]], turns: int) -> Contest:
    """Run fedpipe and all variants of the peers in turns and return their figures.

    Raises:
        BenchmarkError: fedpipe failed, or the accuracy of a peer is another.
    """
    contest = Contest(work)
    commands = {OURS: module_command("fedpipe")}
    for name, (peer, python) in peers.items():
        commands |= {(name, variant): peer.command(variant, python) for variant in peer.variants}
    # A short name: Ray's sockets lie below this folder, and the path of a socket has at most 107 characters.
    with (
        tempfile.TemporaryDirectory(prefix="peers-", ignore_cleanup_errors=True) as folder,
        ExitStack() as stack,
    ):
        make_job(work.model, work.cohort, work.learning_rate, Path(folder))
        for key, command in commands.items():
            with contest.left_out_on_failure(key):
                system = stack.enter_context(
                    System("-".join(filter(None, key)), command, Path(folder))
                )
                system.wait_ready()
                contest.found[key] = Measured(system)
        contest.each(_first_round)
        for _ in range(COMMON_ROUNDS - 1):
            contest.each(lambda measured: measured.seconds.extend(measured.system.rounds(1)))
        contest.each(_take_accuracy)
        contest.refuse_other_results()
        for number in range(turns):
            console.print(f"{work.title}: turn {number + 1} of {turns}", style="dim")
            contest.each(Measured.turn)
        contest.each(_take_memory)
    return contest


def _first_round(measured: Measured) -> None:
    measured.first_round_seconds = measured.system.rounds(1)[0]


def _take_accuracy(measured: Measured) -> None:
    measured.accuracy = measured.system.accuracy()


def _take_memory(measured: Measured) -> None:
    measured.memory_mb = measured.system.memory_mb()


def result_of(found: Mapping[Key, Measured]) -> dict[str, Any]:
    """Return the figures of one work as the JSON has them: each peer's seconds are those of its best variant."""
    seconds: dict[str, float | None] = dict.fromkeys((OURS[0], *(peer.name for peer in PEERS)))
    variants: dict[str, dict[str, Any]] = {}
    for (name, variant), measured in found.items():
        seconds[name] = min(measured.median, seconds[name] or measured.median)
        variants[f"{name} {variant}".strip()] = {
            "seconds": measured.median,
            "first_round_seconds": measured.first_round_seconds,
            "memory_mb": round(measured.memory_mb),
            "accuracy": measured.accuracy,
            "rounds_timed": len(measured.seconds),
        }
    known = {name: value for name, value in seconds.items() if value is not None}
    peers = [value for name, value in known.items() if name != OURS[0]]
    return {
        "seconds": seconds,
        "first": min(known, key=known.__getitem__) if peers else None,
        "ratio_to_best_peer": min(peers) / known[OURS[0]] if peers else None,
        "variants": variants,
    }


def show(work: Work, result: Mapping[str, Any]) -> None:
    """Print one work's table, the fastest first."""
    ours = result["seconds"][OURS[0]]
    rows = []
    for name, one in sorted(result["variants"].items(), key=lambda item: item[1]["seconds"]):
        row = [
            name,
            f"{one['seconds']:.4f}",
            f"{one['seconds'] / ours:.2f}",
            f"{one['first_round_seconds']:.2f}",
        ]
        rows.append(
            [*row, f"{one['memory_mb']}", f"{one['accuracy']:.3f}", f"{one['rounds_timed']}"]
        )
    show_table(
        work.title, ["system", "median s", "/ fedpipe", "first s", "MB", "accuracy", "rounds"], rows
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 2 if fedpipe failed or a system did other work."""
    names = [peer.name for peer in PEERS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument(
        "--json", action="store_true", help="print the result to stdout as one line of JSON"
    )
    parser.add_argument("--work", default=",".join(WORKS), help="which of A,B,C (default: all)")
    parser.add_argument(
        "--only",
        default=",".join(names),
        help=f"which peers, of {','.join(names)}; `none` measures nothing (default: all)",
    )
    parser.add_argument("--turns", type=int, help=f"turns of each system (default: {TURNS})")
    parser.add_argument(
        "--venvs",
        type=Path,
        metavar="DIR",
        help="folder of the peers' venvs, kept (default: a temporary one)",
    )
    options = parser.parse_args(arguments)
    works = [WORKS[key] for key in options.work.split(",")]
    signal.signal(
        signal.SIGTERM, lambda number, _: sys.exit(128 + number)
    )  # an end that ends the peers' processes too
    skipped: dict[str, str] = {}
    results: dict[str, Any] = {work.key: result_of({}) for work in works}
    with ExitStack() as stack:
        venvs = options.venvs or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="peers-venvs-"))
        )
        peers = install_all(options.only.split(","), venvs, skipped)
        about = machine()  # after the installs, which load the machine themselves
        found_versions = {name: versions(peer, python) for name, (peer, python) in peers.items()}
        try:
            for work in works if peers else ():
                contest = measure(work, peers, options.turns or TURNS[work.key])
                results[work.key] = result_of(contest.found)
                skipped |= contest.failed
                show(work, results[work.key])
        except BenchmarkError as err:
            console.print(str(err), markup=False, style="red")
            return 2
    if not peers:
        console.print("No peer is there to compare with: nothing was measured.", style="yellow")
    if options.json:
        about["load_after"] = round(os.getloadavg()[0], 2)
        show_json({**results, "versions": found_versions, "skipped": skipped, "machine": about})
    return 0


if __name__ == "__main__":
    sys.exit(main())
