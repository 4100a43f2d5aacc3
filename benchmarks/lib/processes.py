"""Processes that a benchmark started, with all that they started in turn: what memory they hold, and their end."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable

import psutil

GONE_SECONDS = 20.0


def tree(pid: int) -> list[psutil.Process]:
    """Return a process and all below it; none if it is gone."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def tree_memory_mb(pid: int) -> float:
    """Return the memory of a process and all below it, in MB.

    Proportional set size, so that pages shared by several processes count once; resident size where that cannot be read.
    """
    total = 0
    for process in tree(pid):
        try:
            total += process.memory_full_info().pss
        except psutil.AccessDenied:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 1e6


def end_group(leader: int, others: Iterable[psutil.Process] = ()) -> None:
    """Kill the processes of a group and `others`, and return when they are gone.

    The kernel takes its time with a killed worker that holds gigabytes; until then its memory and its cores are not the next
    system's. The leader's own parent must have waited for it, or it stays as a zombie, which counts as gone after the time.

    Raises:
        TimeoutError: some still run after `GONE_SECONDS`.
    """
    left = {
        *others,
        *(process for process in psutil.process_iter() if _group_of(process) == leader),
    }
    for process in left:
        with contextlib.suppress(
            psutil.NoSuchProcess
        ):  # psutil checks that an id is still the same process
            process.kill()
    deadline = time.monotonic() + GONE_SECONDS
    while left := {process for process in left if process.is_running()}:
        if time.monotonic() > deadline:
            if running := [process for process in left if _runs(process)]:
                raise TimeoutError(
                    f"expected to be gone {GONE_SECONDS:g} s after SIGKILL, still there: {running}"
                )
            return
        time.sleep(0.01)


def end_what_was_started() -> None:
    """Make SIGTERM an exit that passes through `with` and `finally`, so that no system is left behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def _group_of(process: psutil.Process) -> int | None:
    try:
        return os.getpgid(process.pid)
    except ProcessLookupError:
        return None


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
