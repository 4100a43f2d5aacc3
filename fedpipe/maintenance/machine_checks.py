"""The checks of this machine for `fedpipe doctor`. Each tries the thing itself, under a time limit,
and says what it found.
"""

import os
import platform
import resource
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from fedpipe.config import load_config
from fedpipe.config.schema import RuntimeConfig
from fedpipe.errors import FedpipeError
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


@dataclass(frozen=True)
class Check:
    """What one check found.

    Attributes:
        name: what was checked.
        ok: whether it is as it should be.
        needed: whether a run fails without it.
        found: what it found, as a sentence without its full stop.
        mend: what to do where it is not ok; empty if `found` says it.
    """

    name: str
    ok: bool
    needed: bool
    found: str
    mend: str

    @property
    def line(self) -> str:
        """Return the check as one line: state, name, finding and, where it is not ok, the next
        step.
        """
        state = "ok  " if self.ok else "FAIL" if self.needed else "warn"
        step = (
            ""
            if self.ok or not self.mend
            else f" {self.mend[0].upper()}{self.mend[1:].rstrip('.')}."
        )
        return (
            f"{state} {self.name}: "
            f"{self.found.rstrip('.') if step else self.found}{'.' if step else ''}{step}"
        )


Trial = Callable[[], "Check"]


def machine_checks(project: Project) -> "Iterator[Check]":
    """Yield the checks of this machine, each as soon as it is done."""
    trials: dict[str, Trial] = {"python": _python, "cpu": _cpu}
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
        project: where.
        isolation: `runtime.isolation` of the settings that a run will use.
    """
    return [replace(check, found=hide(check.found)) for check in _worker(project, isolation)]


def tried(name: str, trial: Trial) -> Check:
    """Return the check that `trial` gives; whatever it raises is a failed check of that name.

    A reason that fedpipe gives already says what to do.
    """
    try:
        check = trial()
    except (FedpipeError, OSError) as err:
        check = Check(name, False, True, " ".join(str(err).split()), "")
    except Exception as err:
        check = Check(name, False, True, f"{type(err).__name__}: {' '.join(str(err).split())}", "")
    return replace(check, found=hide(check.found))


def _python() -> Check:
    found = f"{platform.python_version()}, {platform.system()} {platform.machine()}"
    ok = (
        sys.version_info[:2] == (3, 11)
        and sys.platform == "linux"
        and platform.machine() == "x86_64"
    )
    return Check(
        "python",
        ok,
        True,
        found,
        "TFF 0.87 needs Python 3.11 on Linux x86-64: run through uv, which brings it",
    )


def _cpu() -> Check:
    flags = cpu_flags()
    missing = [flag for flag in ("avx", "avx2", "fma") if flag not in flags]
    found = "AVX, AVX2 and FMA" if not missing else f"without {', '.join(missing)}"
    return Check(
        "cpu",
        "avx" not in missing,
        True,
        found,
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
    """Say whether there is a home directory; without one, or with one that cannot be written,
    caches go into the project.
    """
    try:
        home = Path.home()
    except RuntimeError:
        return Check(
            "home",
            False,
            False,
            "HOME is not set and this user has no home directory",
            "set HOME to a folder that can be written",
        )
    if not os.access(home, os.W_OK):
        return Check(
            "home",
            False,
            False,
            f"{home} cannot be written",
            "set HOME to a folder that can be written",
        )
    return Check("home", True, False, f"{home} can be written", "")


def _open_files() -> Check:
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    may_rise = most == resource.RLIM_INFINITY or most > limit
    help_text = f"raise the limit in this shell: `ulimit -n {_OPEN_FILES if may_rise else most}`"
    if not may_rise:
        help_text = (
            "ask the administrator to raise the limit (`ulimit -Hn`, LimitNOFILE= of a service)"
        )
    enough = limit == resource.RLIM_INFINITY or limit >= _OPEN_FILES
    return Check(
        "open files",
        enough,
        False,
        f"at most {limit} at a time, runs need up to {_OPEN_FILES}",
        help_text,
    )


def _loopback() -> Check:
    """Listen on 127.0.0.1 and connect to it: Prefect's server and the worker are reached so."""
    help_text = (
        "allow programs to listen on 127.0.0.1: check the firewall and the container's network"
    )
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            with socket.create_connection(("127.0.0.1", port), timeout=5):
                return Check(
                    "local ports", True, True, "127.0.0.1 can be listened on and reached", ""
                )
    except OSError as err:
        return Check(
            "local ports",
            False,
            True,
            f"127.0.0.1 cannot be used: {err.strerror or err}",
            help_text,
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
                    Check("tff worker", True, True, "answers", ""),
                    _isolation(project, worker.isolated, isolation),
                ]
            finally:
                worker.close()
        except (FedpipeError, OSError) as err:
            return [Check("tff worker", False, True, str(err), "see docs/runtime.md")]


def _isolation(project: Project, isolated: bool, wanted: str | None) -> Check:
    """Say where the worker lives; a run needs isolation where its settings require it."""
    if wanted is None:
        wanted = load_config(project.params).runtime.isolation
    found = (
        "own network namespace"
        if isolated
        else "none: the kernel refuses a network namespace, so others reach the worker"
    )
    mend = (
        "allow user namespaces (`sysctl user.max_user_namespaces`, `user.max_net_namespaces`; "
        "Docker's default profile forbids them)"
    )
    return Check(
        "isolation",
        isolated or wanted == "off",
        wanted == "required",
        f"{found} (runtime.isolation={wanted})",
        mend,
    )


def _git(project: Project) -> Check:
    mend = "runs work, but are recorded without a commit: install git and clone the project"
    try:
        commit = (
            run_git(project.root, "rev-parse", "--short", "HEAD").decode(errors="replace").strip()
        )
    except GitError as err:
        return Check("git", False, False, str(err), mend)
    return Check("git", True, False, f"commit {commit}", mend)


def _disk(project: Project) -> Check:
    free = shutil.disk_usage(project.root).free / 2**30
    return Check(
        "disk",
        free > 1,
        False,
        f"{free:.1f} GiB free",
        "runs keep weights and shards: make room for 1 GiB at least",
    )
