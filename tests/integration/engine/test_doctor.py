"""What `fedpipe doctor` says of isolation, and what a run does, where the kernel gives out no network namespace."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fedpipe.maintenance.machine_checks import _worker
from fedpipe.project.paths import Project


def namespaces_allowed() -> bool:
    return (
        bool(shutil.which("unshare"))
        and subprocess.run(["unshare", "-Urn", "true"], capture_output=True, check=False).returncode
        == 0
    )


needs_namespaces = pytest.mark.skipif(
    not namespaces_allowed(), reason="this kernel allows no user namespaces"
)
WITHOUT = 'echo 0 > /proc/sys/user/max_net_namespaces && exec "$@"'
"""Run by a shell in a user namespace of its own, whose limit it may lower: the kernel then refuses all that comes after it."""


def set_isolation(project: Path, wanted: str) -> Project:
    params = project / "params.yaml"
    text = params.read_text()
    assert text.count("  isolation: auto") == 1
    params.write_text(text.replace("  isolation: auto", f"  isolation: {wanted}"))
    return Project(project)


@needs_namespaces
def test_doctor_says_that_the_worker_is_isolated(project: Path) -> None:
    worker, isolation = _worker(Project(project))
    assert (worker.ok, worker.needed, isolation.ok, isolation.needed) == (True, True, True, False)
    assert isolation.finding == "own network namespace (runtime.isolation=auto)"


@needs_namespaces
@pytest.mark.parametrize(
    ("wanted", "ok", "needed"),
    [("auto", False, False), ("required", False, True), ("off", True, False)],
)
def test_doctor_says_that_it_is_not(project: Path, wanted: str, ok: bool, needed: bool) -> None:
    set_isolation(project, wanted)
    code = (
        "from pathlib import Path\nfrom fedpipe.maintenance.machine_checks import _worker\nfrom fedpipe.project.paths import Project\n"
        f"worker, isolation = _worker(Project(Path({str(project)!r})))\n"
        "print(worker.ok, isolation.ok, isolation.needed, isolation.finding, isolation.fix)"
    )
    done = subprocess.run(
        ["unshare", "-Ur", "sh", "-c", WITHOUT, "sh", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout.startswith(
        f"True {ok} {needed} none: the kernel refuses a network namespace"
    ), done.stderr
    assert f"runtime.isolation={wanted}" in done.stdout
    assert "user.max_net_namespaces" in done.stdout
