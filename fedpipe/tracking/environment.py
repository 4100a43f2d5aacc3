"""Environment of a run as tags: the commit, the versions, the machine. Imports nothing heavy."""

import platform
from importlib import metadata
from pathlib import Path

from fedpipe import __version__
from fedpipe.system.git import GitError, run_git
from fedpipe.system.host import cpu_model
from fedpipe.system.resources import usable_cores
from fedpipe.tracking.tags import GIT_BRANCH, GIT_COMMIT, GIT_DIRTY, GIT_NOTE

PACKAGES = ("tensorflow", "tensorflow-federated", "numpy", "mlflow", "prefect", "dvc")
NO_COMMIT = "none"
_GIT_SECONDS = 10


def environment_tags(project: Path) -> dict[str, str]:
    """Return the tags of the code and the machine of a run of `project`; takes about 10 ms.

    - `git.commit`, `git.branch`, `git.dirty` ("true" when `git status` shows anything in the
      project's folder). Without a commit, `git.commit` is "none" and `git.note` says why; nothing
      fails, for a run from a tarball is a run.
    - `mlflow.source.git.commit`, which the MLflow UI shows as the run's version.
    - `version.<package>` for fedpipe, Python and the main packages.
    - `host.cpu` (model), `host.cpus` (that this process may use), `host.os`.
    """
    versions = {f"version.{name}": metadata.version(name) for name in PACKAGES}
    return {
        **git_tags(project),
        "version.fedpipe": __version__,
        "version.python": platform.python_version(),
        **versions,
        "host.cpu": cpu_model(),
        "host.cpus": str(usable_cores()),
        "host.os": f"{platform.system()} {platform.release()}",
    }


def git_tags(project: Path) -> dict[str, str]:
    """Return commit, branch and dirty flag of the git work tree that `project` is in; see
    `environment_tags`.

    Only what changed under `project` makes it dirty: in a repository of several projects the others
    do not count.
    """
    # Without optional locks: `git status` would otherwise write the index under the hands of the
    # user's own git.
    command = (
        "--no-optional-locks",
        "--literal-pathspecs",
        "status",
        "--porcelain=v2",
        "--branch",
        "--",
        ".",
    )
    try:
        output = run_git(project, *command, timeout_seconds=_GIT_SECONDS).decode(errors="replace")
    except GitError as err:
        return {GIT_COMMIT: NO_COMMIT, GIT_NOTE: str(err)[:300]}
    lines = output.splitlines()
    header = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# "))
    dirty = any(not line.startswith("# ") for line in lines)
    tags = {GIT_BRANCH: header.get("branch.head", ""), GIT_DIRTY: str(dirty).lower()}
    commit = header.get("branch.oid", "")
    if not commit or commit == "(initial)":
        return {**tags, GIT_COMMIT: NO_COMMIT, GIT_NOTE: "the repository has no commit yet"}
    return {**tags, GIT_COMMIT: commit, "mlflow.source.git.commit": commit}
