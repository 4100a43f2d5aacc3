"""The checks of `fedpipe doctor`. Each tries the thing itself, under a time limit, and says what it found."""

import importlib.metadata
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fedpipe.config import load_config
from fedpipe.config.schema import RuntimeConfig
from fedpipe.errors import FedpipeError
from fedpipe.redact import hide
from fedpipe.steps.project import Project

_LIMIT_SECONDS = 60
_PACKAGES = {"tensorflow": "2.14", "tensorflow-federated": "0.87", "mlflow": "3.", "dvc": "3.", "prefect": "3."}


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        name: what was checked.
        ok: whether it is as it should be.
        needed: whether the main job needs it.
        found: what was found.
        mend: what to do where it is not ok.
    """

    name: str
    ok: bool
    needed: bool
    found: str
    mend: str

    @property
    def line(self) -> str:
        """Return the check as one line: state, name, finding and, where it is not ok, the next step."""
        state = "ok  " if self.ok else "FAIL" if self.needed else "warn"
        step = "" if self.ok or not self.mend else f" {self.mend[0].upper()}{self.mend[1:].rstrip('.')}."
        return f"{state} {self.name}: {self.found.rstrip('.') if step else self.found}{'.' if step else ''}{step}"


def run_checks(project: Project, params: Path | None = None, overrides: Sequence[str] = ()) -> list[Check]:  # noqa: ARG001
    """Return all findings for this machine and this project."""
    checks = [_python(), _cpu(), *_versions(), *_worker(project), _git(project), _dvc(project)]
    checks += [_writable("project folder", project.root), _store(project), _disk(project)]
    return [replace(check, found=hide(check.found)) for check in checks]


def _python() -> Check:
    found = f"{platform.python_version()}, {platform.system()} {platform.machine()}"
    ok = sys.version_info[:2] == (3, 11) and sys.platform == "linux" and platform.machine() == "x86_64"
    return Check("python", ok, True, found, "TFF 0.87 needs Python 3.11 on Linux x86-64: run through uv, which brings it")


def _cpu() -> Check:
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split() if Path("/proc/cpuinfo").exists() else []
    missing = [flag for flag in ("avx", "avx2", "fma") if flag not in flags]
    found = "AVX, AVX2 and FMA" if not missing else f"without {', '.join(missing)}"
    return Check("cpu", "avx" not in missing, True, found, "TensorFlow's wheels need a CPU with AVX: use another machine")


def _versions() -> list[Check]:
    checks = []
    for package, wanted in _PACKAGES.items():
        try:
            found = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found = "not installed"
        checks.append(Check(package, found.startswith(wanted), True, found, f"expected {wanted}*: run `uv sync --locked`"))
    return checks


def _worker(project: Project) -> list[Check]:
    from fedpipe.engine.worker import Worker

    limit = RuntimeConfig().start_timeout_seconds
    with tempfile.TemporaryDirectory() as folder:
        try:
            worker = Worker("auto", Path(folder) / "worker.log")
            try:
                worker.wait_ready(limit)
                return [Check("tff worker", True, True, "answers", ""), _isolation(project, worker.isolated)]
            finally:
                worker.close()
        except (FedpipeError, OSError) as err:
            return [Check("tff worker", False, True, str(err), "see docs/runtime.md")]


def _isolation(project: Project, isolated: bool) -> Check:
    """Say where the worker lives; the main job needs isolation where the project's settings require it."""
    try:
        wanted = load_config(project.params).runtime.isolation
    except FedpipeError:
        wanted = "auto"  # `fedpipe run` says what is wrong with the file
    found = "own network namespace" if isolated else "none: the kernel refuses a network namespace, so others reach the worker"
    mend = "allow user namespaces (`sysctl user.max_user_namespaces`, `user.max_net_namespaces`; Docker's default profile forbids them)"
    return Check("isolation", isolated or wanted == "off", wanted == "required", f"{found} (runtime.isolation={wanted})", mend)


def _git(project: Project) -> Check:
    mend = "runs work, but are recorded without a commit: install git and clone the project"
    return _command("git", ["git", "-C", str(project.root), "rev-parse", "--short", "HEAD"], False, mend, "commit ")


def _dvc(project: Project) -> Check:
    if not (project.root / ".dvc").is_dir():
        return Check("dvc", False, True, "no .dvc folder in the project", "run `uv run dvc init` here, or clone the project anew")
    return _command("dvc", [sys.executable, "-m", "dvc", "--version"], True, "run `uv sync --locked`", "")


def _command(name: str, command: list[str], needed: bool, mend: str, prefix: str) -> Check:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_SECONDS, stdin=subprocess.DEVNULL, check=False)
    except (OSError, subprocess.TimeoutExpired) as err:
        return Check(name, False, needed, str(err), mend)
    said = " ".join((done.stdout or done.stderr).split())
    return Check(name, done.returncode == 0, needed, prefix + said if done.returncode == 0 else said, mend)


def _writable(name: str, folder: Path) -> Check:
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            return Check(name, True, True, f"{folder} can be written", "")
    except OSError as err:
        return Check(name, False, True, str(err), "make it writable, or clone the project to another place")


def _store(project: Project) -> Check:
    from fedpipe.tracking.store import open_store

    return _tried(
        "mlflow store", lambda: open_store(project.root, "fedpipe").label, "set MLFLOW_TRACKING_URI to a store that can be written"
    )


def _tried(name: str, try_it: Callable[[], str], mend: str) -> Check:
    try:
        return Check(name, True, True, try_it(), mend)
    except FedpipeError as err:
        return Check(name, False, True, str(err), mend)


def _disk(project: Project) -> Check:
    free = shutil.disk_usage(project.root).free / 2**30
    return Check("disk", free > 1, False, f"{free:.1f} GiB free", "runs keep weights and shards: make room for 1 GiB at least")
