"""The TFF worker is killed or stopped; the run goes on by itself. And the short form: a worker, then the whole run."""

import signal
import subprocess
import time

import psutil

from benchmarks.common import BenchmarkError
from benchmarks.faults_cases.clone import LIMIT_SECONDS, Clone, Outcome, strike

ROUND_TIMEOUT_SECONDS = 10.0
FAULTS = ("killed between rounds", "killed in a round", "SIGSTOP")


def worker_fault(clone: Clone, fault: str) -> Outcome:
    """Make one of `FAULTS`; the run must end as if nothing had happened."""
    name = f"worker {fault}"
    with clone.running("-S", f"runtime.round_timeout_seconds={ROUND_TIMEOUT_SECONDS}") as process:
        clone.wait_for(process, 5)
        make(fault, clone.worker(process), process)
        start = time.monotonic()
        code = process.wait(LIMIT_SECONDS)
    if code:
        return Outcome(name, False, note=f"the run ended with {code}: {clone.said[-500:]}")
    if "restart 1 of" not in clone.said:
        raise BenchmarkError(f"{name}: expected a restart in the log, found none: the fault was not made")
    return clone.judge(name, clone.answered, f"the run's end came {time.monotonic() - start:.1f} s after the fault")


def make(fault: str, worker: int, process: "subprocess.Popen[bytes]") -> None:
    """Kill or stop a worker: while the run asks nothing of it, or while it computes."""
    if fault == "killed between rounds":
        strike(process.pid, signal.SIGSTOP)  # so that nothing more is asked of the worker
        wait_idle(worker)
        strike(worker, signal.SIGKILL)
        strike(process.pid, signal.SIGCONT)
    else:
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
        clone.until(lambda: clone.newest_run is not None or other.poll() is not None, "the undisturbed run's folder")
        with clone.running() as process:
            clone.wait_for(process, 2)
            make("killed in a round", clone.worker(process), process)
            clone.until(lambda: "restart 1 of" in clone.said or process.poll() is not None, "a new worker")
            clone.wait_for(process, clone.rounds_done() + 1)
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
    second = clone.judge("SIGKILL of the run in a round", clone.resume(), note).with_orphans(orphans)
    first = Outcome(
        "worker killed in a round", second.survived, weights_equal=second.weights_equal, note="and the run went on with another"
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
