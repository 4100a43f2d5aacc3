"""The same worker faults on stock TFF, as in its tutorial: what it does, with a limit of time."""

import signal
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.lib.common import WORKS, BenchmarkError, System, make_job, module_command
from tests.e2e.faults.clone import strike
from tests.e2e.faults.workers import FAULTS, wait_busy

STOPPED_SECONDS = 60.0
"""How long a stopped worker is waited for: six times what fedpipe's case allows a round."""


def stock_faults(folder: Path) -> dict[str, dict[str, Any]]:
    """Return by fault whether stock TFF finished the round within the limit, in how many seconds, and with which accuracy."""
    work = WORKS["A"]
    make_job(work.model, work.cohort, work.learning_rate, folder)
    with System("stock-undisturbed", module_command("tff_tutorial"), folder) as system:
        system.wait_ready()
        system.rounds(4)
        expected = system.accuracy()
    return {fault: _stock(fault, folder, expected) for fault in FAULTS}


def _stock(fault: str, folder: Path, expected: float) -> dict[str, Any]:
    with System(
        f"stock-{fault.replace(' ', '-')}", module_command("tff_tutorial"), folder
    ) as system:
        system.wait_ready()
        system.rounds(2)
        worker = next(
            p.pid
            for p in psutil.Process(system.pid).children(recursive=True)
            if "worker_binary" in p.cmdline()[0]
        )
        if fault == "killed between rounds":
            strike(worker, signal.SIGKILL)
        else:
            number = signal.SIGKILL if fault == "killed in a round" else signal.SIGSTOP
            threading.Thread(target=lambda: (wait_busy(worker), strike(worker, number))).start()
        start = time.monotonic()
        try:
            system.rounds(2, STOPPED_SECONDS)
        except BenchmarkError as err:
            return {
                "survived": False,
                "seconds": time.monotonic() - start,
                "note": str(err).splitlines()[0],
            }
        seconds = time.monotonic() - start
        return {
            "survived": system.accuracy() == expected,
            "seconds": seconds,
            "note": "the round was repeated",
        }
