"""The checks of this machine for `fedpipe doctor`. Each tries the thing itself, under a time limit,
and says what it finds.
"""

import os
import platform
import resource
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from fedpipe.config import load_config
from fedpipe.config.schema import RuntimeConfig
from fedpipe.errors import FedpipeError
from fedpipe.maintenance.check import Check, failed, passed, tried
from fedpipe.project.paths import Project
from fedpipe.redact import hide
from fedpipe.system.git import GitError, run_git
from fedpipe.system.host import cpu_flags, package_version

_OPEN_FILES = 1024
"""Files that a run holds open at most, with some room."""
_PACKAGES = {
    "tensorflow": "2.14",
    "tensorflow-federated": "0.87",
    "mlflow": "3.",
    "dvc": "3.",
    "prefect": "3.",
}


def machine_checks(project: Project) -> Iterator[Check]:
    """Yield the checks of this machine, each as soon as it is done."""
    trials: dict[str, Callable[[], Check]] = {"python": _python, "cpu": _cpu}
    trials |= {
        package: partial(_version, package, version) for package, version in _PACKAGES.items()
    }
    trials |= {
        "home": _home,
        "open files": _open_files,
        "local ports": _loopback,
        "disk": partial(_disk, project),
        "git": partial(_git, project),
    }
    for name, trial in trials.items():
        yield tried(name, trial)


def worker_checks(project: Project, isolation: str = "auto") -> list[Check]:
    """Start a TFF worker, ask it, and end it; return that check and the one of its isolation.

    Args:
        isolation: `runtime.isolation` of the settings that a run will use.
    """
    checks = _worker(project, isolation)
    return [replace(check, finding=hide(check.finding)) for check in checks]


def _python() -> Check:
    machine = platform.machine()
    fits = sys.version_info[:2] == (3, 11) and sys.platform == "linux" and machine == "x86_64"
    return Check(
        "python",
        fits,
        True,
        f"{platform.python_version()}, {platform.system()} {machine}",
        "TFF 0.87 needs Python 3.11 on Linux x86-64: run through uv, which brings it",
    )


def _cpu() -> Check:
    missing = {"avx", "avx2", "fma"}.difference(cpu_flags())
    if not missing:
        return passed("cpu", "AVX, AVX2 and FMA")
    return Check(
        "cpu",
        "avx" not in missing,
        True,
        f"without {', '.join(sorted(missing))}",
        "TensorFlow's wheels need a CPU with AVX: use another machine",
    )


def _version(package: str, expected: str) -> Check:
    version = package_version(package)
    return Check(
        package,
        version.startswith(expected),
        True,
        version,
        f"fedpipe needs {expected}*: run `uv sync --locked`",
    )


def _home() -> Check:
    """Check for a home directory; without one, or with one that cannot be written, caches go into
    the project.
    """
    fix = "set HOME to a folder that can be written"
    try:
        home = Path.home()
    except RuntimeError:
        finding = "HOME is not set and this user has no home directory"
        return failed("home", finding, fix, needed=False)
    if not os.access(home, os.W_OK):
        return failed("home", f"{home} cannot be written", fix, needed=False)
    return passed("home", f"{home} can be written", needed=False)


def _open_files() -> Check:
    limit, highest = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    fix = "ask the administrator to raise the limit (`ulimit -Hn`, LimitNOFILE= of a service)"
    if highest == unlimited or highest > limit:
        fix = f"raise the limit in this shell: `ulimit -n {_OPEN_FILES}`"
    return Check(
        "open files",
        limit == unlimited or limit >= _OPEN_FILES,
        False,
        f"at most {limit} at a time, runs need up to {_OPEN_FILES}",
        fix,
    )


def _loopback() -> Check:
    """Listen on 127.0.0.1 and connect to it, as Prefect's server and the worker need."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            with socket.create_connection(("127.0.0.1", port), timeout=5):
                return passed("local ports", "127.0.0.1 can be listened on and reached")
    except OSError as err:
        return failed(
            "local ports",
            f"127.0.0.1 cannot be used: {err.strerror or err}",
            "allow programs to listen on 127.0.0.1: check the firewall and the container's network",
        )


def _worker(project: Project, isolation: str | None = None) -> list[Check]:
    from fedpipe.engine.local.worker import Worker

    limit = RuntimeConfig().start_timeout_seconds
    with tempfile.TemporaryDirectory() as folder:
        try:
            worker = Worker("auto", Path(folder) / "worker.log")
            try:
                worker.wait_ready(limit)
                return [
                    passed("tff worker", "answers"),
                    _isolation(project, worker.isolated, isolation),
                ]
            finally:
                worker.close()
        except (FedpipeError, OSError) as err:
            return [failed("tff worker", str(err), "see docs/runtime.md")]


def _isolation(project: Project, isolated: bool, setting: str | None) -> Check:
    """Say where the worker lives; a run needs isolation where its settings require it."""
    if setting is None:
        setting = load_config(project.params).runtime.isolation
    finding = "none: the kernel refuses a network namespace, so others reach the worker"
    if isolated:
        finding = "own network namespace"
    return Check(
        "isolation",
        isolated or setting == "off",
        setting == "required",
        f"{finding} (runtime.isolation={setting})",
        "allow user namespaces (`sysctl user.max_user_namespaces`, `user.max_net_namespaces`; "
        "Docker's default profile forbids them)",
    )


def _git(project: Project) -> Check:
    try:
        commit = run_git(project.root, "rev-parse", "--short", "HEAD").decode(errors="replace")
    except GitError as err:
        fix = "runs work, but are recorded without a commit: install git and clone the project"
        return failed("git", str(err), fix, needed=False)
    return passed("git", f"commit {commit.strip()}", needed=False)


def _disk(project: Project) -> Check:
    free = shutil.disk_usage(project.root).free / 2**30
    return Check(
        "disk",
        free > 1,
        False,
        f"{free:.1f} GiB free",
        "runs keep weights and shards: make room for 1 GiB at least",
    )
