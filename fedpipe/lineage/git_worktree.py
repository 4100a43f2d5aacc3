"""Temporary git work tree of a commit, as a project that can run: it reads this project's DVC
remotes and cache.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedpipe.errors import ConfigError, EnvironmentProblem
from fedpipe.project.dvc import absolute_settings
from fedpipe.project.paths import Project
from fedpipe.system.git import GitError, run_git

_GIT_SECONDS = 300


@contextmanager
def worktree_of(project: Project, commit: str, patch: Path | None) -> Iterator[Project]:
    """Yield the project as it was at `commit`, with `patch` applied; it is removed after the block.

    Raises:
        ConfigError: the clone does not have the commit, or the patch does not fit it.
        EnvironmentProblem: git is missing, or cannot make a work tree.
    """
    root = project.root
    inside = os.fsdecode(_git(root, "rev-parse", "--show-prefix")).strip()
    try:
        _git(root, "cat-file", "-e", f"{commit}^{{commit}}")
    except EnvironmentProblem as err:
        raise ConfigError(
            f"{root}: expected the run's commit {commit} in this clone, found it is not there. "
            "Run `git fetch --all`."
        ) from err
    with tempfile.TemporaryDirectory(prefix="fedpipe-reproduce-") as name:
        tree = Path(name).resolve() / "tree"
        add = ("worktree", "add", "--detach", "--quiet", str(tree), commit)
        _git(root, "-c", f"core.hooksPath={os.devnull}", *add)
        try:
            if patch is not None:
                try:
                    _git(tree, "apply", "--binary", "--whitespace=nowarn", str(patch))
                except EnvironmentProblem as err:
                    raise ConfigError(
                        f"{patch.name}: expected the run's changes to fit its commit {commit}, "
                        f"found they do not: {err}"
                    ) from err
            worktree = Project(tree / inside)
            _share_dvc(project, worktree)
            yield worktree
        finally:
            _git(root, "worktree", "remove", "--force", "--force", str(tree))


def _share_dvc(project: Project, worktree: Project) -> None:
    """Write this project's remotes, credentials and cache into the work tree's DVC settings, with
    absolute paths.
    """
    folder = project.root / ".dvc"
    if not (worktree.root / ".dvc").is_dir():
        return
    settings = absolute_settings(folder, ["config", "config.local"])
    if not settings.has_section("cache"):
        settings.add_section("cache")
    if not settings.has_option("cache", "dir"):
        settings.set("cache", "dir", str((folder / "cache").resolve()))
    path = worktree.root / ".dvc" / "config.local"
    path.touch(mode=0o600)  # it may hold credentials
    with path.open("w", encoding="utf-8") as file:
        settings.write(file)


def file_at(project: Project, commit: str, name: str) -> bytes | None:
    """Return the contents of a file of the project at a commit, None if it did not exist."""
    try:
        return _git(project.root, "show", f"{commit}:./{name}")
    except EnvironmentProblem:
        return None


def _git(folder: Path, *arguments: str) -> bytes:
    try:
        return run_git(folder, *arguments, timeout_seconds=_GIT_SECONDS)
    except GitError as err:
        raise EnvironmentProblem(f"`git {' '.join(arguments)}` in {folder}: {err}") from err
