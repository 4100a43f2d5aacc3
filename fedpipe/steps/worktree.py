"""A commit in a folder of its own, as a project that can run: a temporary git work tree that reads this project's DVC remotes and cache."""

import configparser
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedpipe.errors import ConfigError, EnvironmentProblem
from fedpipe.steps.project import Project

_GIT_SECONDS = 300
_PATHS = ("url", "dir", "credentialpath", "keyfile")


@contextmanager
def worktree_of(project: Project, commit: str, patch: Path | None) -> Iterator[Project]:
    """Give the project as it was at `commit`, with `patch` laid over it; it is removed with the block.

    Raises:
        ConfigError: the clone does not have the commit, or the patch does not fit it.
        EnvironmentProblem: git is not there, or cannot make a work tree.
    """
    root = project.root
    inside = os.fsdecode(_git(root, "rev-parse", "--show-prefix")).strip()
    try:
        _git(root, "cat-file", "-e", f"{commit}^{{commit}}")
    except EnvironmentProblem as err:
        raise ConfigError(
            f"{root}: expected the run's commit {commit} in this clone, found it is not there. Run `git fetch --all`."
        ) from err
    with tempfile.TemporaryDirectory(prefix="fedpipe-reproduce-") as name:
        tree = Path(name).resolve() / "tree"
        _git(root, "-c", f"core.hooksPath={os.devnull}", "worktree", "add", "--detach", "--quiet", str(tree), commit)
        try:
            if patch is not None:
                try:
                    _git(tree, "apply", "--binary", "--whitespace=nowarn", str(patch))
                except EnvironmentProblem as err:
                    raise ConfigError(
                        f"{patch.name}: expected the run's changes to fit its commit {commit}, found they do not: {err}"
                    ) from err
            there = Project(tree / inside)
            _share_dvc(project, there)
            yield there
        finally:
            _git(root, "worktree", "remove", "--force", "--force", str(tree))


def _share_dvc(project: Project, there: Project) -> None:
    """Give the work tree this project's remotes, credentials and cache, whatever file they stand in; relative paths become absolute."""
    folder = project.root / ".dvc"
    if not (there.root / ".dvc").is_dir():
        return
    settings = configparser.ConfigParser(interpolation=None)
    settings.read([folder / "config", folder / "config.local"], encoding="utf-8")
    for section in settings.sections():
        for key in _PATHS:
            value = settings.get(section, key, fallback=None)
            if value and "://" not in value:
                settings.set(section, key, str((folder / Path(value).expanduser()).resolve()))
    if not settings.has_section("cache"):
        settings.add_section("cache")
    if not settings.has_option("cache", "dir"):
        settings.set("cache", "dir", str((folder / "cache").resolve()))
    path = there.root / ".dvc" / "config.local"
    path.touch(mode=0o600)  # it may hold credentials
    with path.open("w", encoding="utf-8") as file:
        settings.write(file)


def file_at(project: Project, commit: str, name: str) -> bytes | None:
    """Return what a file of the project held at a commit, None if it was not there."""
    try:
        return _git(project.root, "show", f"{commit}:./{name}")
    except EnvironmentProblem:
        return None


def _git(folder: Path, *arguments: str) -> bytes:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=_GIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        raise EnvironmentProblem(f"git: expected an answer to `git {' '.join(arguments)}`, found {err}. Install git.") from err
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())[:300]
        raise EnvironmentProblem(f"`git {' '.join(arguments)}` in {folder} failed: {said}")
    return done.stdout
