"""DVC as a program: in any kind of repository, with its own reason when it fails, and with the user's configuration left alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedpipe.errors import ConfigError, DataError
from fedpipe.project import dvc
from fedpipe.system.locks import can_lock

CONFIG = "[core]\n    analytics = false\n"


def stage(folder: Path, command: str = "echo made > out") -> Path:
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc" / "config").write_text(CONFIG)
    (folder / "dvc.yaml").write_text(
        f"stages:\n  prepare:\n    cmd: {json.dumps(command)}\n    outs: [out]\n"
    )
    return folder


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=T", "-c", "user.email=t@example.org")
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


@pytest.fixture(autouse=True)
def _own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "settings of the user"))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))


def settings(folder: Path) -> dict[str, str]:
    return {
        path.name: path.read_text()
        for path in (folder / ".dvc").iterdir()
        if path.name.startswith("config")
    }


def test_a_project_outside_of_any_repository_needs_no_setting(tmp_path: Path) -> None:
    (tmp_path / "settings of the user").mkdir()
    (tmp_path / "settings of the user" / "config").write_text(
        "[cache]\n    dir = cache of the user\n"
    )
    project = stage(tmp_path / "project")
    dvc.repro(project, "prepare")
    assert (project / "out").read_text() == "made\n"
    assert settings(project) == {"config": CONFIG}
    assert list((tmp_path / "settings of the user" / "cache of the user").rglob("*")), (
        "the user's own settings hold too"
    )


@pytest.mark.parametrize("kind", ["subfolder", "worktree", "submodule", "no commit"])
def test_git_is_found_as_git_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    other, top = tmp_path / "other", tmp_path / "top"
    git(tmp_path, "init", "--quiet", str(other))
    git(other, "commit", "--quiet", "--allow-empty", "-m", "First")
    if kind == "worktree":
        git(other, "worktree", "add", "--quiet", str(top))
    elif kind == "submodule":
        git(tmp_path, "init", "--quiet", str(top))
        git(
            top,
            "-c",
            "protocol.file.allow=always",
            "submodule",
            "add",
            "--quiet",
            str(other),
            "digits",
        )
    else:
        git(tmp_path, "init", "--quiet", str(top))
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))  # as in a hook of another repository
    project = stage(top / "digits")
    dvc.repro(project, "prepare")
    assert settings(project) == {"config": CONFIG}
    assert (project / "dvc.lock").exists()


def test_the_reason_of_dvc_is_in_the_error(tmp_path: Path) -> None:
    project = stage(tmp_path / "project", "sh -c 'echo the disk is on fire >&2; exit 3'")
    git(tmp_path, "init", "--quiet", str(project))
    with pytest.raises(DataError) as caught:
        dvc.repro(project, "prepare")
    reason = "ERROR: failed to reproduce 'prepare': failed to run: sh -c"
    assert str(caught.value).startswith(f"`dvc repro prepare` failed with exit code 255: {reason}")
    (project / "dvc.yaml").write_text(
        "stages:\n  prepare:\n    cmd: echo\n    deps: [missing.csv]\n"
    )
    with pytest.raises(
        DataError,
        match=r"`dvc repro prepare` failed .*missing dependency|'missing\.csv' does not exist",
    ):
        dvc.repro(project, "prepare")


def test_an_error_of_fedpipe_inside_dvc_is_said_once(tmp_path: Path) -> None:
    project = stage(
        tmp_path / "project", "sh -c 'echo \"fedpipe: data.csv:7: no label\" >&2; exit 2'"
    )
    git(tmp_path, "init", "--quiet", str(project))
    with pytest.raises(DataError) as caught:
        dvc.repro(project, "prepare")
    assert str(caught.value) == "data.csv:7: no label"


def test_warnings_of_the_stage_are_passed_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    project = stage(
        tmp_path / "project",
        "sh -c 'echo \"WARNING fedpipe.data: 3 files skipped\" >&2; touch out'",
    )
    git(tmp_path, "init", "--quiet", str(project))
    dvc.repro(project, "prepare")
    assert capfd.readouterr().err == "WARNING fedpipe.data: 3 files skipped\n"


def test_dvc_runs_where_files_cannot_be_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dvc, "can_lock", lambda _: False)
    project = stage(tmp_path / "project")
    git(tmp_path, "init", "--quiet", str(project))
    dvc.repro(project, "prepare")
    assert can_lock(project)
    assert (project / "out").exists()
    assert settings(project) == {"config": CONFIG}


def test_dvc_is_the_one_of_this_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a program on the PATH, and no file of the project in the place of a module."""
    monkeypatch.setenv("PATH", os.defpath)
    project = stage(tmp_path / "project")
    git(tmp_path, "init", "--quiet", str(project))
    for name in ("secrets", "queue", "signal", "types", "random", "yaml", "dvc"):
        (project / f"{name}.py").write_text("raise SystemExit('the wrong module')\n")
    dvc.repro(project, "prepare")
    assert (project / "out").exists()


LOCK = "schema: '2.0'\nstages:\n<<<<<<< HEAD\n  prepare:\n    cmd: echo made > out\n=======\n>>>>>>> other\n"


@pytest.mark.parametrize("name", ["dvc.lock", "dvc.yaml"])
def test_an_unresolved_merge_is_named_before_dvc_is_started(tmp_path: Path, name: str) -> None:
    project = stage(tmp_path / "project")
    (project / "dvc.lock").write_text("schema: '2.0'\n")
    (project / name).write_text(LOCK)
    for question in (
        lambda: dvc.stage_is_current(project, "prepare"),
        lambda: dvc.check_dvc_files(project),
        lambda: dvc.repro(project, "prepare"),
    ):
        with pytest.raises(
            ConfigError,
            match=rf"^{name}:3:1: a merge is not resolved: the line is `<<<<<<< HEAD`\. .*Then run `dvc ",
        ):
            question()


def test_a_lock_with_a_key_twice_is_refused(tmp_path: Path) -> None:
    project = stage(tmp_path / "project")
    (project / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  prepare:\n    cmd: a\n  prepare:\n    cmd: b\n"
    )
    with pytest.raises(
        ConfigError, match=r"^dvc\.lock:5:3: the key 'prepare' stands here and in line 3"
    ):
        dvc.locked_md5(project, "prepare", "out")
    (project / "dvc.lock").write_text("- a\n")
    with pytest.raises(DataError, match=r"^dvc\.lock: expected a mapping"):
        dvc.check_dvc_files(project)


def test_an_output_behind_a_link_to_another_disk_is_refused_with_dvcs_own_way(
    tmp_path: Path,
) -> None:
    project, disk = stage(tmp_path / "project"), tmp_path / "disk"
    disk.mkdir()
    (project / "data").symlink_to(disk)
    (project / "dvc.yaml").write_text(
        "stages:\n  prepare:\n    cmd: touch data/out\n    outs: [data/out]\n"
    )
    git(tmp_path, "init", "--quiet", str(project))
    with pytest.raises(DataError) as caught:
        dvc.repro(project, "prepare")
    assert str(caught.value).startswith(
        f"{project}/data is a link to {disk}, outside of the project: DVC does not keep data/out there."
    )
    assert f"dvc cache dir --local {disk}/dvc-cache" in str(caught.value)
    (project / "data").unlink()
    (project / "data").mkdir()
    for command in (
        ["cache", "dir", "--local", f"{disk}/dvc-cache"],
        ["config", "--local", "cache.type", "symlink"],
    ):
        subprocess.run(
            [sys.executable, "-P", "-m", "dvc", *command],
            cwd=project,
            check=True,
            capture_output=True,
        )
    dvc.repro(project, "prepare")
    assert (project / "data" / "out").resolve().is_relative_to(disk)
