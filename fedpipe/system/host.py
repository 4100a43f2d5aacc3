"""Facts of this machine and its installed packages. Light to import; for cores and memory see
`fedpipe.system.resources`.
"""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def cpu_model() -> str:
    """Return the CPU's model name as the kernel gives it, or the architecture where it gives
    none.
    """
    return _cpu_field("model name") or f"{platform.machine()} ({sys.platform})"


def cpu_flags() -> list[str]:
    """Return the CPU's features as the kernel names them, such as `avx2`; none where it does
    not.
    """
    return _cpu_field("flags").split()


def in_address(host: str) -> str:
    """Return a host as it stands before a port: an IPv6 address is in brackets.

    >>> in_address("::1"), in_address("127.0.0.1")
    ('[::1]', '127.0.0.1')
    """
    if ":" in host:
        return f"[{host}]"
    return host


def package_version(name: str) -> str:
    """Return the version of a package, or `not installed`."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _cpu_field(name: str) -> str:
    """Return the first value of a field of `/proc/cpuinfo`, empty where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    values = (line.partition(":")[2].strip() for line in lines if line.startswith(name))
    return next(values, "")
