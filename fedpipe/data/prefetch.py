"""Prefetches resident files ahead of the rounds, in a process of its own.

A run over a large population meets new clients in every round, and to decode one from the shards
takes longer than to train on it. The plan is known before the first round, so a second process
works through it from the moment the plan is there, most of all while TensorFlow is imported, when a
core is idle. It has the lowest priority and stops at half of the cache's size. What it did not
make, or could not, the round makes itself.

Run as `python -P -m fedpipe.data.prefetch SHARDS PLAN CACHE MAX_BYTES`; it ends when its stdin
does, so it does not outlive the run.
"""

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path

from fedpipe.data.population import Population
from fedpipe.data.resident import ResidentCache
from fedpipe.system.log_redaction import watch_outlets
from fedpipe.types import CohortPlan

FEW_CLIENTS = 200
"""Planned clients up to which a second process is not worth its start."""
CLIENTS_PER_FILE = 8
"""Clients to make per file of shards and pass: to read a file's metadata costs as much as to make
several clients of it.
"""
_OPEN_FILES = 2
_ROUNDS = 20
_AT_ONCE = 100
_END_SECONDS = 10.0
_NICE = 19


@contextmanager
def prefetched(
    shards: Path, plan: CohortPlan, plan_path: Path, cache: Path, max_bytes: int, log: Path
) -> Iterator[None]:
    """Prefetch the plan's clients while the block runs; plans of few clients start nothing.

    Args:
        shards: folder of the shards.
        plan: the plan.
        plan_path: its file.
        cache: folder of all resident files.
        max_bytes: size that the cache may have.
        log: file for the process's errors.
    """
    if len(set().union(*plan.cohorts)) <= FEW_CLIENTS:
        yield
        return
    command = [
        sys.executable,
        "-P",
        "-m",
        "fedpipe.data.prefetch",
        *map(str, (shards, plan_path, cache, max_bytes)),
    ]
    with log.open("ab") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=errors, stderr=errors, start_new_session=True
        )
    try:
        yield
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def prefetch_clients(shards: Path, plan: CohortPlan, cache: Path, max_bytes: int) -> int:
    """Make the files of the plan's clients until stdin ends or half of `max_bytes` is used; return
    how many bytes.

    Some rounds at a time, in the order of the shards: so few of these are open at once, and
    neighbours are decoded together.
    """
    population = Population.open(shards, verify=False, open_files=_OPEN_FILES)
    resident = ResidentCache.of(population, cache, max_bytes)
    rounds = rounds_per_pass(plan, sum(file.split == "train" for file in population.manifest.files))
    used = 0
    for start in range(0, len(plan), rounds):
        planned = sorted(set().union(*plan.cohorts[start : start + rounds]))
        for first in range(0, len(planned), _AT_ONCE):
            if used > max_bytes // 2 or select.select([sys.stdin], [], [], 0)[0]:
                return used
            clients = resident.clients(planned[first : first + _AT_ONCE])
            used += sum(client.size_bytes for client in clients)
    return used


def rounds_per_pass(plan: CohortPlan, files: int) -> int:
    """Return how many rounds' clients are made in one pass over so many files of shards, at least
    20.

    >>> rounds_per_pass(CohortPlan("uniform", 1, (("a", "b"),) * 1000), 100)
    400
    """
    size = sum(map(len, plan.cohorts)) / max(1, len(plan))
    return max(_ROUNDS, ceil(CLIENTS_PER_FILE * files / max(1.0, size)))


if __name__ == "__main__":
    watch_outlets()
    os.nice(_NICE)
    folder, plan_file, root, most = sys.argv[1:]
    prefetch_clients(
        Path(folder),
        CohortPlan.from_json(Path(plan_file).read_text(encoding="utf-8")),
        Path(root),
        int(most),
    )
