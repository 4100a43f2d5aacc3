"""Cores and memory under control groups, read from trees of files such as a kernel shows."""

import os
from pathlib import Path

import pytest

from fedpipe.system.resources import free_memory_mb, usable_cores

V2 = "30 23 0:26 {top} /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "32 31 0:29 {top} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:32 {top} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


def tree(root: Path, cgroup: str, mounts: str, **files: str) -> Path:
    """Write the files of `/proc`, and of control groups by path with `__` for a dot."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    (root / "proc/self/mountinfo").write_text(f"23 1 0:21 / / rw - ext4 /dev/vda rw\n{mounts}")
    (root / "proc/meminfo").write_text("MemTotal: 16000000 kB\nMemAvailable:    8000000 kB\n")
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("cpu_max", "cores"),
    [
        ("max 100000", 8),
        ("100000 100000", 1),
        ("150000 100000", 2),
        ("300000 100000", 3),
        ("50000 100000", 1),
        ("6400000 100000", 8),
    ],
)
def test_a_quota_of_version_2_counts(tmp_path: Path, cpu_max: str, cores: int) -> None:
    root = tree(tmp_path, "0::/job\n", V2.format(top="/"), **{"job/cpu__max": f"{cpu_max}\n"})
    assert usable_cores(root) == cores


def test_the_least_quota_of_nested_groups_counts(tmp_path: Path) -> None:
    files = {
        "a/cpu__max": "200000 100000",
        "a/b/cpu__max": "max 100000",
        "a/b/c/cpu__max": "400000 100000",
    }
    assert usable_cores(tree(tmp_path, "0::/a/b/c\n", V2.format(top="/"), **files)) == 2


@pytest.mark.parametrize(("quota_us", "cores"), [("-1", 8), ("100000", 1), ("250000", 3)])
def test_a_quota_of_version_1_counts_beside_version_2(
    tmp_path: Path, quota_us: str, cores: int
) -> None:
    files = {
        "cpu,cpuacct/quota/cpu__cfs_quota_us": quota_us,
        "cpu,cpuacct/quota/cpu__cfs_period_us": "100000",
    }
    cgroup = "4:memory:/\n3:cpuset:/\n2:cpu,cpuacct:/quota\n1:name=systemd:/\n0::/\n"
    assert usable_cores(tree(tmp_path, cgroup, V1.format(top="/"), **files)) == cores


@pytest.mark.parametrize("top", ["/docker/1f2e", "/", "/../other"])
def test_in_a_container_the_mounted_group_is_its_own(tmp_path: Path, top: str) -> None:
    root = tree(tmp_path, "0::/docker/1f2e\n", V2.format(top=top), cpu__max="200000 100000")
    assert usable_cores(root) == 2


def test_a_cpuset_is_the_affinity_and_a_larger_quota_adds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    root = tree(tmp_path, "0::/job\n", V2.format(top="/"), **{"job/cpu__max": "400000 100000"})
    assert usable_cores(root) == 1


def test_without_control_groups_the_machine_counts(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == 8
    assert free_memory_mb(tree(tmp_path, "0::/\n", "")) == 8192.0  # 8,000,000 kB of 1,024 bytes
    (tmp_path / "proc/self/cgroup").write_text("nothing that is known\n::\n")
    assert usable_cores(tmp_path) == 8


@pytest.mark.parametrize(
    ("limit", "used", "inactive", "free"),
    [
        ("max", 5e9, 0, 8192.0),
        ("4000000000", 1e9, 5e8, 3500.0),
        ("1000000000", 2e9, 0, 0.0),
        ("64000000000", 1e9, 0, 8192.0),
    ],
)
def test_a_limit_of_memory_counts_and_cached_files_are_free(
    tmp_path: Path, limit: str, used: float, inactive: float, free: float
) -> None:
    stat = f"anon 1\ninactive_file {int(inactive)}\n"
    files = {
        "job/memory__max": limit,
        "job/memory__current": str(int(used)),
        "job/memory__stat": stat,
    }
    assert free_memory_mb(tree(tmp_path, "0::/job\n", V2.format(top="/"), **files)) == free


def test_a_limit_of_memory_of_version_1_counts_at_every_level(tmp_path: Path) -> None:
    files = {
        "memory/a/memory__limit_in_bytes": "3000000000",
        "memory/a/memory__usage_in_bytes": "1000000000",
        "memory/a/memory__stat": "inactive_file 7\ntotal_inactive_file 250000000\n",
        "memory/a/b/memory__limit_in_bytes": "9223372036854771712",  # none
        "memory/a/b/memory__usage_in_bytes": "10",
    }
    assert (
        free_memory_mb(tree(tmp_path, "4:memory:/a/b\n0::/\n", V1.format(top="/"), **files))
        == 2250.0
    )
