import os
import subprocess

import pytest

from fedpipe.system.host import cpu_model
from fedpipe.tracking.environment import environment_tags, git_tags


@pytest.fixture(autouse=True)
def _own_git(tmp_path, monkeypatch):
    """No settings of the user, no repository above the test's folder."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))


def git(folder, *arguments):
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    return subprocess.run(
        ["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


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
    assert {
        "version.fedpipe",
        "version.mlflow",
        "version.prefect",
        "version.dvc",
        "host.os",
    } <= set(tags)
    assert tags["host.cpu"] == cpu_model() != ""
    assert 1 <= int(tags["host.cpus"]) <= os.cpu_count()
    assert all(isinstance(value, str) for value in tags.values())


def test_what_changed_beside_the_project_does_not_make_it_dirty(tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    (project / "params.yaml").write_text("rounds: 1\n")
    git(tmp_path, "init", "--initial-branch=work")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "-m", "first")
    (tmp_path / "beside").write_text("2")
    assert git_tags(project)["git.dirty"] == "false"
    (project / "new").write_text("2")
    assert git_tags(project)["git.dirty"] == "true"


def test_a_work_tree_and_a_submodule_have_the_commit_of_their_own(tmp_path):
    first, top = tmp_path / "first", tmp_path / "top"
    for folder in (first, top):
        git(tmp_path, "init", "--initial-branch=main", str(folder))
        (folder / "name").write_text(folder.name)
        git(folder, "add", "name")
        git(folder, "commit", "-m", folder.name)
    commit = git(first, "rev-parse", "HEAD")
    git(first, "worktree", "add", "-b", "side", str(tmp_path / "side"))
    git(top, "-c", "protocol.file.allow=always", "submodule", "add", str(first), "inner")
    for folder in (tmp_path / "side", top / "inner"):
        assert git_tags(folder)["git.commit"] == commit


def test_a_variable_of_another_repository_is_not_heeded(tmp_path, monkeypatch):
    mine, other = tmp_path / "mine", tmp_path / "other"
    for folder in (mine, other):
        git(tmp_path, "init", str(folder))
        (folder / "name").write_text(folder.name)
        git(folder, "add", "name")
        git(folder, "commit", "-m", folder.name)
    commit, others = git(mine, "rev-parse", "HEAD"), git(other, "rev-parse", "HEAD")
    (tmp_path / "bare").mkdir()
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    assert git_tags(mine)["git.commit"] == commit
    assert git_tags(mine)["git.dirty"] == "false"
    assert git_tags(tmp_path / "bare")["git.commit"] == others, (
        "a work tree apart from its repository"
    )


def test_a_repository_of_somebody_else_is_named_with_gits_advice(tmp_path, monkeypatch):
    git(tmp_path, "init")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    tags = git_tags(tmp_path)
    assert tags["git.commit"] == "none"
    assert "dubious ownership" in tags["git.note"]
    assert "safe.directory" in tags["git.note"]
