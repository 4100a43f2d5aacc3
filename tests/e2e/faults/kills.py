"""The run itself is killed in each of its phases, at random moments, or told to end."""

import json
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress

import psutil

from tests.e2e.faults.clone import Clone, Outcome

END_SECONDS = 10.0
AFTER_ROUND = 5


def killed(clone: Clone, kills: int, seed: int) -> Iterator[Outcome]:
    """SIGKILL in each phase in turn, at a point of it where the run is held or at a moment behind it; then `fedpipe resume`."""
    draw = random.Random(seed)  # noqa: S311 - moments, not secrets
    for number in range(kills):
        phase = PHASES[number % len(PHASES)]
        if phase == "prepare":
            _forget_shards(clone)
        point = _points(phase, clone.rounds, draw)
        with clone.running(holds=[point]) as process:
            clone.hold(process, point)
            if phase in _LET_GO:
                clone.release(point)
                _wait_a_moment(clone, process, phase, draw)
            ended = process.poll() is not None
            process.kill()
            process.wait()
        done = clone.rounds_done()
        orphans = clone.orphans()
        summary = clone.answered if ended else clone.resume()
        name, note = (
            f"SIGKILL {number + 1}: {phase}",
            f"at {point}, {done} rounds were done, round 0 among them",
        )
        if ended:
            note += "; it had ended"
        if not summary and not (
            clone.newest_run and (clone.newest_run / "run_state.json").exists()
        ):
            yield Outcome(
                name,
                not orphans,
                orphans=orphans,
                weights_equal=True,
                note="before the run was there: nothing to lose",
            )
        else:
            yield clone.judge(name, summary, note).with_orphans(orphans)


def _wait_a_moment(
    clone: Clone, process: "subprocess.Popen[bytes]", phase: str, draw: random.Random
) -> None:
    """Wait for a part of what the phase took in the undisturbed run."""
    if phase == "prepare":
        clone.until(lambda: _dvc_runs(process) or process.poll() is not None, "DVC")
    seconds = clone.expected["seconds"]["round_median" if phase == "in a round" else "prepare"]
    time.sleep(draw.uniform(0, float(seconds)))


def told_to_end(clone: Clone, number: signal.Signals) -> Outcome:
    """SIGINT or SIGTERM in a round: the run ends in time with its own exit code; then `fedpipe resume`."""
    point = f"done@{AFTER_ROUND}"
    with clone.running(holds=[point]) as process:
        clone.hold(process, point)
        start = time.monotonic()
        process.send_signal(number)
        try:
            code = process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            return Outcome(number.name, False, note=f"it did not end within {END_SECONDS:g} s")
        seconds = time.monotonic() - start
    status = status_in_store(clone)
    if code != 128 + number or status != "KILLED":
        return Outcome(
            number.name,
            False,
            note=f"expected exit code {128 + number} and status KILLED, found {code} and {status}",
        )
    return clone.judge(number.name, clone.resume(), f"ended in {seconds:.1f} s with {code}")


def status_in_store(clone: Clone) -> str:
    """Return the status of the newest run in the project's store."""
    state = (
        json.loads((clone.newest_run / "run_state.json").read_text(encoding="utf-8"))
        if clone.newest_run
        else {}
    )
    with sqlite3.connect(clone.database) as store:
        found = store.execute(
            "SELECT status FROM runs WHERE run_uuid = ?", (state.get("mlflow_run_id"),)
        ).fetchone()
    store.close()
    return str(found[0]) if found else "none"


def _forget_shards(clone: Clone) -> None:
    """Remove the shards and DVC's copies, so that the next run makes them."""
    for path in (clone.project / "data" / "shards", clone.project / ".dvc" / "cache"):
        shutil.rmtree(path, ignore_errors=True)


def _dvc_runs(process: "subprocess.Popen[bytes]") -> bool:
    with suppress(psutil.NoSuchProcess):
        return any(
            "dvc" in child.cmdline()
            for child in psutil.Process(process.pid).children(recursive=True)
        )
    return False


def _points(phase: str, rounds: int, draw: random.Random) -> str:
    """Return the point at which a run is held to be killed in a phase; of several one is drawn."""
    half = draw.randrange(1, rounds // 2)
    points = {
        "in a round": (f"call@{half}",),
        "prepare": ("load_data",),
        "during a checkpoint": (f"checkpoint@{half}",),
        "during logging": (f"send@{half}",),
        "before the first round": ("load_data", "train", "call@1"),
        "after the last round": (f"done@{rounds}", "evaluate", "record", "finished", "told"),
    }
    return draw.choice(points[phase])


PHASES = (
    "in a round",
    "prepare",
    "during a checkpoint",
    "during logging",
    "before the first round",
    "after the last round",
)
"""Between two rounds is where the journal and the checkpoint are written."""
_LET_GO = ("in a round", "prepare")
"""Phases whose work begins at their point: the run is let go there and killed a moment later."""
