"""A commit in a folder of its own, by real git: as it was, with a patch, and gone afterwards."""

import configparser
import subprocess

import pytest

from fedpipe.errors import ConfigError
from fedpipe.lineage.git_worktree import file_at, worktree_of
from fedpipe.project.paths import Project


def git(folder, *arguments):
    command = [
        "git",
        "-C",
        str(folder),
        "-c",
        "user.name=T",
        "-c",
        "user.email=t@example.org",
        *arguments,
    ]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path):
    """A project in a folder of a larger repository, with a second commit, and its commit ids."""
    folder = tmp_path / "repository" / "project"
    (folder / ".dvc").mkdir(parents=True)
    git(tmp_path, "init", "--quiet", str(folder.parent))
    (folder / "params.yaml").write_text("rounds: 1\n")
    (folder / ".dvc" / "config").write_text(
        "[core]\n    remote = here\n['remote \"here\"']\n    url = ../remote\n"
    )
    commits = []
    for text in ("rounds: 1\n", "rounds: 2\n"):
        (folder / "params.yaml").write_text(text)
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--allow-empty", "-m", text)
        commits.append(git(folder, "rev-parse", "HEAD"))
    return Project(folder), commits


def test_the_commit_with_a_patch_and_nothing_left(repository, tmp_path):
    project, (first, _) = repository
    (tmp_path / "patch").write_text(
        "diff --git a/project/params.yaml b/project/params.yaml\n--- a/project/params.yaml\n+++ b/project/params.yaml\n"
        "@@ -1 +1 @@\n-rounds: 1\n+rounds: 7\n"
    )
    with worktree_of(project, first, None) as there:
        assert there.params.read_text() == "rounds: 1\n"
    with worktree_of(project, first, tmp_path / "patch") as there:
        assert there.params.read_text() == "rounds: 7\n"
    assert not there.root.exists()
    assert len(git(project.root, "worktree", "list").splitlines()) == 1
    assert project.params.read_text() == "rounds: 2\n"
    assert file_at(project, first, "params.yaml") == b"rounds: 1\n"
    assert file_at(project, first, "uv.lock") is None


def test_dvc_finds_the_same_remote_and_the_same_cache(repository):
    project, (first, _) = repository
    (project.root / ".dvc" / "config.local").write_text(
        "['remote \"far\"']\n    url = s3://bucket/%place\n    password = x\n"
    )
    with worktree_of(project, first, None) as there:
        settings = configparser.ConfigParser(interpolation=None)
        settings.read(there.root / ".dvc" / "config.local")
        assert settings["'remote \"here\"'"]["url"] == str(project.root / "remote")
        assert dict(settings["'remote \"far\"'"]) == {"url": "s3://bucket/%place", "password": "x"}
        assert settings["cache"]["dir"] == str(project.root / ".dvc" / "cache")
        assert (there.root / ".dvc" / "config.local").stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_is_said_and_nothing_is_left(repository, tmp_path):
    project, (first, second) = repository
    with (
        pytest.raises(ConfigError, match=r"found it is not there\. Run `git fetch --all`"),
        worktree_of(project, "1" * 40, None),
    ):
        pass
    (tmp_path / "patch").write_text("--- a/project/gone\n+++ b/project/gone\n@@ -1 +1 @@\n-a\n+b\n")
    with (
        pytest.raises(ConfigError, match=f"expected the run's changes to fit its commit {second}"),
        worktree_of(project, second, tmp_path / "patch"),
    ):
        pass
    with pytest.raises(ZeroDivisionError), worktree_of(project, first, None):
        raise ZeroDivisionError
    assert len(git(project.root, "worktree", "list").splitlines()) == 1
