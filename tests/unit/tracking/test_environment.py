import os
import subprocess

import pytest

from fedpipe.tracking.environment import cpu_model, environment_tags, git_tags


@pytest.fixture(autouse=True)
def _own_git(tmp_path, monkeypatch):
    """No settings of the user, no repository above the test's folder."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))


def git(folder, *arguments):
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    return subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def test_commit_branch_and_a_clean_tree(tmp_path):
    git(tmp_path, "init", "--initial-branch=work")
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert git_tags(tmp_path) == {
        "git.branch": "work",
        "git.dirty": "false",
        "git.commit": commit,
        "mlflow.source.git.commit": commit,
    }


@pytest.mark.parametrize("file", ["a", "new"])
def test_a_changed_or_a_new_file_makes_it_dirty(tmp_path, file):
    test_commit_branch_and_a_clean_tree(tmp_path)
    (tmp_path / file).write_text("2")
    assert git_tags(tmp_path)["git.dirty"] == "true"


def test_an_ignored_file_does_not(tmp_path):
    (tmp_path / ".gitignore").write_text("mlflow.db\n.gitignore\n")
    test_commit_branch_and_a_clean_tree(tmp_path)
    (tmp_path / "mlflow.db").write_text("")
    assert git_tags(tmp_path)["git.dirty"] == "false"


def test_without_a_repository_there_is_no_commit_and_a_reason(tmp_path):
    tags = git_tags(tmp_path)
    assert tags["git.commit"] == "none"
    assert "not a git repository" in tags["git.note"]
    assert "mlflow.source.git.commit" not in tags


def test_a_repository_without_a_commit_says_so(tmp_path):
    git(tmp_path, "init", "--initial-branch=work")
    assert git_tags(tmp_path) == {
        "git.branch": "work",
        "git.dirty": "false",
        "git.commit": "none",
        "git.note": "the repository has no commit yet",
    }


def test_without_git_there_is_no_commit_and_a_reason(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    tags = git_tags(tmp_path)
    assert tags["git.commit"] == "none"
    assert tags["git.note"] == "git is not installed, or not on the PATH"


def test_versions_and_host_are_named(tmp_path):
    tags = environment_tags(tmp_path)
    assert tags["version.tensorflow-federated"] == "0.87.0"
    assert tags["version.python"].startswith("3.11.")
    assert {"version.fedpipe", "version.mlflow", "version.prefect", "version.dvc", "host.os"} <= set(tags)
    assert tags["host.cpu"] == cpu_model() != ""
    assert 1 <= int(tags["host.cpus"]) <= os.cpu_count()
    assert all(isinstance(value, str) for value in tags.values())
