"""The patch of a dirty work tree, by real git: it makes of a fresh checkout what the tree was, and leaves the tree alone."""

import subprocess

import pytest

from fedpipe.tracking import git_diff
from fedpipe.tracking.git_diff import DiffLeftOutError, dirty_patch


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
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "a repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    for name, body in {
        "kept.txt": b"one\n",
        "gone.txt": b"two\n",
        "picture.bin": bytes(range(256)),
        ".gitignore": b"ignored\n",
    }.items():
        (folder / name).write_bytes(body)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "First")
    return folder


def test_a_clean_tree_has_no_patch_and_no_git_is_none(repository, tmp_path):
    assert dirty_patch(repository) == b""
    (tmp_path / "bare").mkdir()
    assert dirty_patch(tmp_path / "bare") == b""


def test_the_patch_makes_a_checkout_what_the_tree_was(repository, tmp_path):
    (repository / "kept.txt").write_text("one\nmore\n")
    (repository / "gone.txt").unlink()
    (repository / "picture.bin").write_bytes(bytes(range(255, -1, -1)) * 3)
    (repository / "new folder").mkdir()
    (repository / "new folder" / "ünd [new].bin").write_bytes(b"\0\1\2\xff")
    (repository / "staged.txt").write_text("staged\n")
    git(repository, "add", "staged.txt")
    (repository / "ignored").write_text("a cache")
    (repository / ".env").write_text("TOKEN=secret")
    git(repository, "config", "diff.noprefix", "true")  # a user's own way of showing diffs
    before, objects = (
        git(repository, "status", "--porcelain"),
        sorted((repository / ".git" / "objects").rglob("*")),
    )
    patch = dirty_patch(repository)
    assert git(repository, "status", "--porcelain") == before
    assert sorted((repository / ".git" / "objects").rglob("*")) == objects
    assert b"TOKEN" not in patch

    fresh = tmp_path / "fresh"
    git(tmp_path, "clone", "--quiet", str(repository), str(fresh))
    (tmp_path / "patch").write_bytes(patch)
    git(fresh, "apply", "--binary", str(tmp_path / "patch"))
    for name in ("kept.txt", "picture.bin", "new folder/ünd [new].bin", "staged.txt"):
        assert (fresh / name).read_bytes() == (repository / name).read_bytes(), name
    assert sorted(path.name for path in fresh.iterdir()) == [
        ".git",
        ".gitignore",
        "kept.txt",
        "new folder",
        "picture.bin",
        "staged.txt",
    ]


def test_a_tree_with_too_much_is_said(repository, monkeypatch):
    monkeypatch.setattr(git_diff, "MAX_BYTES", 1000)
    (repository / "data.bin").write_bytes(bytes(1001))
    with pytest.raises(
        DiffLeftOutError, match="changed and new files have 1001 bytes, more than 1000"
    ):
        dirty_patch(repository)


def test_the_patch_of_a_project_in_a_subfolder_is_of_this_project_alone(
    repository, tmp_path, monkeypatch
):
    project, other = repository / "[a] project", repository / "other"
    for folder in (project, other):
        folder.mkdir()
        (folder / "code.py").write_text("1\n")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "-m", "Two projects")
    for folder in (project, other):
        (folder / "code.py").write_text("2\n")
        (folder / "new.py").write_text("new\n")
    (other / "staged.py").write_text("3\n")
    git(repository, "add", "other/staged.py")
    nested = project / "a repository of its own"
    nested.mkdir()
    git(nested, "init", "--quiet")
    (nested / "x").write_text("x")
    git(repository, "config", "diff.relative", "true")
    monkeypatch.setenv(
        "GIT_DIR", str(tmp_path / "another" / ".git")
    )  # as in a hook of another repository
    patch = dirty_patch(project)
    assert [line for line in patch.decode().splitlines() if line.startswith("diff")] == [
        "diff --git a/[a] project/code.py b/[a] project/code.py",
        "diff --git a/[a] project/new.py b/[a] project/new.py",
    ]
    monkeypatch.delenv("GIT_DIR")
    fresh = tmp_path / "fresh"
    git(tmp_path, "clone", "--quiet", str(repository), str(fresh))
    (tmp_path / "patch").write_bytes(patch)
    git(fresh, "apply", "--binary", str(tmp_path / "patch"))
    assert (fresh / "[a] project" / "new.py").read_text() == "new\n"
    assert (fresh / "other" / "code.py").read_text() == "1\n"


def test_the_patch_of_a_clean_project_in_a_dirty_repository_is_empty(repository):
    project = repository / "project"
    project.mkdir()
    (project / "code.py").write_text("1\n")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "-m", "A project")
    (repository / "kept.txt").write_text("other\n")
    assert dirty_patch(project) == b""


def test_a_link_to_another_disk_is_no_change_of_the_code(repository, tmp_path):
    (tmp_path / "disk").mkdir()
    (repository / "data").symlink_to(tmp_path / "disk")
    assert dirty_patch(repository) == b""
    (repository / "link").symlink_to("kept.txt")
    assert b"diff --git a/link b/link" in dirty_patch(repository)
