"""The TFF worker is killed or stopped; the run goes on by itself."""

import signal
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
        worker = clone.worker()
        if fault == "killed between rounds":
            strike(process.pid, signal.SIGSTOP)  # so that nothing more is asked of the worker
            wait_idle(worker)
            strike(worker, signal.SIGKILL)
            strike(process.pid, signal.SIGCONT)
        else:
            wait_busy(worker)
            strike(worker, signal.SIGKILL if fault == "killed in a round" else signal.SIGSTOP)
        start = time.monotonic()
        code = process.wait(LIMIT_SECONDS)
    if code:
        return Outcome(name, False, note=f"the run ended with {code}: {clone.said[-500:]}")
    restarts = clone.said.count("restart 1 of")
    outcome = clone.judge(name, clone.answered, f"the run's end came {time.monotonic() - start:.1f} s after the fault")
    if not restarts:
        raise BenchmarkError(f"{name}: expected a restart in the log, found none: the fault was not made")
    return outcome


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
