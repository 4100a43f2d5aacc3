"""Cores and memory that this process may use: those of the machine, or less where a control group
(cgroup v1 or v2) sets a limit.

Containers, batch systems and `systemd` limit a process by control groups. A cpuset shows in the
process's affinity; a quota of CPU time and a limit of memory show in files of the group and of the
groups around it, each of which binds. Light to import.
"""

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")


def usable_cores(root: Path = ROOT) -> int:
    """Return the number of cores that this process may use, at least 1: its affinity, or its quota
    of CPU time if that is less.

    A quota of one and a half cores counts as two.

    Args:
        root: folder below which `/proc` and `/sys` are.
    """
    cores = len(os.sched_getaffinity(0))
    quotas = [quota for group in _groups(root, "cpu") if (quota := _cpu_quota(group)) is not None]
    return max(1, min([cores, *(math.ceil(quota) for quota in quotas)]))


def free_memory_mb(root: Path = ROOT) -> float:
    """Return the memory that this process may still take, in MB (10**6 bytes): the machine's, or
    that of its control groups if less.

    Args:
        root: folder below which `/proc` and `/sys` are.
    """
    free = [float("inf")]
    with contextlib.suppress(OSError, ValueError, IndexError, StopIteration):
        lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
        free.append(
            next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
        )
    free += [left for group in _groups(root, "memory") if (left := _memory_left(group)) is not None]
    return max(0.0, min(free)) / 1e6


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's control group for `controller` and of the groups around
    it, the innermost first.
    """
    try:
        memberships = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        mounts = (root / "proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in memberships:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        unified = number == "0" and not controllers
        if not unified and controller not in controllers.split(","):
            continue
        for mount in mounts:
            group = _mounted(mount, None if unified else controller)
            if group is not None:
                yield from _up(root, path, *group)


def _mounted(line: str, controller: str | None) -> tuple[str, str] | None:
    """Return which group is mounted and where, if a line of `mountinfo` is of cgroup v2
    (`controller` None) or of a controller of v1.
    """
    fields, _, rest = line.partition(" - ")
    columns = fields.split()
    kind = rest.split()
    if len(columns) < 5 or len(kind) < 3:
        return None
    fits = (
        kind[0] == "cgroup2"
        if controller is None
        else kind[0] == "cgroup" and controller in kind[2].split(",")
    )
    if fits:
        return (columns[3], columns[4])
    return None


def _up(root: Path, path: str, top: str, mount: str) -> Iterator[Path]:
    """Yield the folder of the group `path` and those around it, up to the group `top`, which is
    what is mounted at `mount`.

    In a container `path` may be as the host sees it, outside of what is mounted: then the mounted
    group is the process's own.
    """
    place = root / mount.lstrip("/")
    inner = Path(path).relative_to(top) if Path(path).is_relative_to(top) else Path()
    folder = place / inner
    if ".." in inner.parts or not folder.is_dir():
        folder = place
    while True:
        yield folder
        if folder == place:
            return
        folder = folder.parent


def _cpu_quota(group: Path) -> float | None:
    """Return the cores' worth of CPU time that a group may use; None if it has no limit."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
        if quota == "max":
            return None
        return int(quota) / int(period)
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        quota_us, period_us = (
            int((group / f"cpu.cfs_{name}_us").read_text(encoding="ascii"))
            for name in ("quota", "period")
        )
        if quota_us <= 0:
            return None
        return quota_us / period_us
    return None


def _memory_left(group: Path) -> float | None:
    """Return the bytes that a group may still take; None if it has no limit. Cached files, which
    the kernel drops first, count as free.
    """
    for limit_name, used_name, cached_name in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        with contextlib.suppress(OSError, ValueError):
            limit = (group / limit_name).read_text(encoding="ascii").strip()
            if limit == "max":
                return None
            used = int((group / used_name).read_text(encoding="ascii"))
            return int(limit) - used + _statistic(group / "memory.stat", cached_name)
    return None


def _statistic(path: Path, name: str) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in path.read_text(encoding="ascii").splitlines():
            if line.split()[0] == name:
                return int(line.split()[1])
    return 0
