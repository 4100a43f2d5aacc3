"""The TFF worker is killed or stopped; the run goes on by itself. And the short form: a worker, then the whole run."""

import signal
import time
from collections.abc import Callable

import psutil

from benchmarks.lib.common import BenchmarkError
from tests.e2e.faults.clone import LIMIT_SECONDS, Clone, Outcome, strike

ROUND_TIMEOUT_SECONDS = 10.0
FAULTS = ("killed between rounds", "killed in a round", "SIGSTOP")


def worker_fault(clone: Clone, fault: str) -> Outcome:
    """Make one of `FAULTS`; the run must end as if nothing had happened."""
    name = f"worker {fault}"
    with clone.running(
        "-S", f"runtime.round_timeout_seconds={ROUND_TIMEOUT_SECONDS}", holds=["done@5"]
    ) as process:
        clone.hold(process, "done@5")
        make(fault, clone.worker(process), lambda: clone.release("done@5"))
        start = time.monotonic()
        code = process.wait(LIMIT_SECONDS)
    if code:
        return Outcome(name, False, note=f"the run ended with {code}: {clone.said[-500:]}")
    if "restart 1 of" not in clone.said:
        raise BenchmarkError(
            f"{name}: expected a restart in the log, found none: the fault was not made"
        )
    return clone.judge(
        name, clone.answered, f"the run's end came {time.monotonic() - start:.1f} s after the fault"
    )


def make(fault: str, worker: int, release: Callable[[], None]) -> None:
    """Kill or stop the worker of a run that is held after a round: while it asks nothing of it, or while it computes the next one."""
    if fault == "killed between rounds":
        wait_idle(worker)
        strike(worker, signal.SIGKILL)
        release()
    else:
        release()
        wait_busy(worker)
        strike(worker, signal.SIGKILL if fault == "killed in a round" else signal.SIGSTOP)


def worker_then_run(clone: Clone) -> tuple[Outcome, Outcome]:
    """The short form, two faults in one run: its worker is killed in a round, then all of it is; `fedpipe resume`.

    The undisturbed run, which they are compared with, goes on beside them.
    """
    undisturbed = clone.project.parent / "undisturbed"
    with undisturbed.open("w") as out, undisturbed.with_suffix(".err").open("w") as err:
        other = clone.start(out, err)
    try:
        clone.until(
            lambda: clone.newest_run is not None or other.poll() is not None,
            "the undisturbed run's folder",
        )
        holds = ["done@2", f"done@{clone.rounds // 2}"]
        with clone.running(holds=holds) as process:
            clone.hold(process, holds[0])
            make("killed in a round", clone.worker(process), lambda: clone.release(holds[0]))
            clone.until(
                lambda: "restart 1 of" in clone.said or process.poll() is not None, "a new worker"
            )
            clone.hold(process, holds[1])
            done = clone.rounds_done()
            process.kill()
            process.wait()
        if other.wait(LIMIT_SECONDS):
            raise BenchmarkError(
                f"the undisturbed run ended with {other.returncode}: {undisturbed.with_suffix('.err').read_text()[-1500:]}"
            )
    finally:
        other.kill()
        other.wait()
    clone.read_expected(undisturbed)
    orphans = clone.orphans()
    note = f"{done} rounds were done, round 0 among them"
    second = clone.judge("SIGKILL of the run in a round", clone.resume(), note).with_orphans(
        orphans
    )
    first = Outcome(
        "worker killed in a round",
        second.survived,
        weights_equal=second.weights_equal,
        note="and the run went on with another",
    )
    return first, second


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    used = psutil.Process(pid).cpu_times()
    return float(used.user + used.system)


def wait_idle(pid: int) -> None:
    """Return when a process has computed nothing for a while."""
    before = -1.0
    while (now := cpu_seconds(pid)) != before:
        before = now
        time.sleep(0.2)


def wait_busy(pid: int) -> None:
    """Return when a process has just computed."""
    before = cpu_seconds(pid)
    while cpu_seconds(pid) < before + 0.03:
        time.sleep(0.002)
