"""The run itself is killed in each of its phases, at random moments, or told to end."""

import json
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from benchmarks.faults_cases.clone import Clone, Outcome

END_SECONDS = 10.0
AFTER_ROUND = 5


def killed(clone: Clone, kills: int, seed: int) -> Iterator[Outcome]:
    """SIGKILL in each phase in turn, at a random moment of it; then `fedpipe resume`."""
    draw = random.Random(seed)  # noqa: S311 - moments, not secrets
    phases = list(PHASES.items())
    for number in range(kills):
        phase, wait = phases[number % len(phases)]
        if phase == "prepare":
            _forget_shards(clone)
        with clone.running() as process:
            wait(clone, process, draw)
            ended = process.poll() is not None
            process.kill()
            process.wait()
        done = clone.rounds_done()
        orphans = clone.orphans()
        summary = clone.answered if ended else clone.resume()
        name, note = f"SIGKILL {number + 1}: {phase}", f"{done} rounds were done, round 0 among them{'; it had ended' if ended else ''}"
        if not summary and not (clone.newest_run and (clone.newest_run / "run_state.json").exists()):
            yield Outcome(name, not orphans, orphans=orphans, weights_equal=True, note="before the run was there: nothing to lose")
        else:
            yield clone.judge(name, summary, note).with_orphans(orphans)


def told_to_end(clone: Clone, number: signal.Signals) -> Outcome:
    """SIGINT or SIGTERM in a round: the run ends in time with its own exit code; then `fedpipe resume`."""
    with clone.running() as process:
        clone.wait_for(process, AFTER_ROUND)
        start = time.monotonic()
        process.send_signal(number)
        try:
            code = process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            return Outcome(number.name, False, note=f"it did not end within {END_SECONDS:g} s")
        seconds = time.monotonic() - start
    status = status_in_store(clone)
    if code != 128 + number or status != "KILLED":
        return Outcome(number.name, False, note=f"expected exit code {128 + number} and status KILLED, found {code} and {status}")
    return clone.judge(number.name, clone.resume(), f"ended in {seconds:.1f} s with {code}")


def status_in_store(clone: Clone) -> str:
    """Return the status of the newest run in the project's store."""
    state = json.loads((clone.newest_run / "run_state.json").read_text(encoding="utf-8")) if clone.newest_run else {}
    with sqlite3.connect(clone.database) as store:
        found = store.execute("SELECT status FROM runs WHERE run_uuid = ?", (state.get("mlflow_run_id"),)).fetchone()
    store.close()
    return str(found[0]) if found else "none"


def _forget_shards(clone: Clone) -> None:
    """Remove the shards and DVC's copies, so that the next run makes them."""
    for path in (clone.project / "data" / "shards", clone.project / ".dvc" / "cache"):
        shutil.rmtree(path, ignore_errors=True)


def _in_prepare(clone: Clone, process: "subprocess.Popen[bytes]", draw: random.Random) -> None:
    def dvc_runs() -> bool:
        with suppress(psutil.NoSuchProcess):
            return any("dvc" in child.cmdline() for child in psutil.Process(process.pid).children(recursive=True))
        return False

    clone.until(lambda: dvc_runs() or process.poll() is not None, "DVC")
    time.sleep(draw.uniform(0, 4))


def _at_start(clone: Clone, _process: "subprocess.Popen[bytes]", draw: random.Random) -> None:
    time.sleep(draw.uniform(0.5, 0.5 * clone.seconds))


def _in_a_round(clone: Clone, process: "subprocess.Popen[bytes]", draw: random.Random) -> None:
    clone.wait_for(process, draw.randrange(1, clone.rounds - 2))
    time.sleep(draw.uniform(0, 0.3))


def _in_a_checkpoint(clone: Clone, process: "subprocess.Popen[bytes]", draw: random.Random) -> None:
    def in_making() -> bool:
        folder = clone.newest_run / "checkpoints" if clone.newest_run else Path("nowhere")
        return any(folder.glob(".making-*")) or process.poll() is not None

    clone.wait_for(process, draw.randrange(1, clone.rounds // 2))
    clone.until(in_making, "a checkpoint in the making", pause_seconds=0)


def _in_logging(clone: Clone, process: "subprocess.Popen[bytes]", draw: random.Random) -> None:
    def being_sent() -> bool:
        folder = clone.newest_run
        if folder is None or process.poll() is not None:
            return process.poll() is not None
        with suppress(OSError, ValueError):
            return int((folder / "journal.sent").read_text()) < (folder / "journal.jsonl").read_bytes().count(b"\n")
        return False

    clone.wait_for(process, draw.randrange(1, clone.rounds // 2))
    clone.until(being_sent, "a record that is being sent", pause_seconds=0)


def _at_the_end(clone: Clone, process: "subprocess.Popen[bytes]", draw: random.Random) -> None:
    clone.until(lambda: clone.rounds_done() > clone.rounds or process.poll() is not None, "the last round")
    with suppress(subprocess.TimeoutExpired):
        process.wait(draw.uniform(0, 4))


PHASES: dict[str, Callable[[Clone, "subprocess.Popen[bytes]", random.Random], None]] = {
    "in a round": _in_a_round,
    "prepare": _in_prepare,
    "during a checkpoint": _in_a_checkpoint,
    "during logging": _in_logging,
    "before the first round": _at_start,
    "after the last round": _at_the_end,
}
"""By name, what waits for a random moment of the phase. Between two rounds is where the journal and the checkpoint are written."""
