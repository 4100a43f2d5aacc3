"""A user without a home and without a name gets both, and nobody else does."""

import getpass
import os
import pwd
from pathlib import Path

import pytest

from fedpipe.system.home import ensure_home


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "to be restored")
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("nobody")
def test_the_home_is_in_the_project_and_there_is_a_name(tmp_path: Path) -> None:
    ensure_home(tmp_path / ".fedpipe")
    assert Path.home() == tmp_path / ".fedpipe" / "home"
    assert Path.home().is_dir()
    assert getpass.getuser() == f"uid-{os.getuid()}"


@pytest.mark.usefixtures("nobody")
def test_outside_of_a_project_and_in_one_that_cannot_be_written_it_is_a_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "file").touch()
    for private in (None, tmp_path / "file" / ".fedpipe"):
        os.environ.pop("HOME", None)
        ensure_home(private)
        assert Path.home().parent == tmp_path
        assert Path.home().is_dir()


def test_an_empty_home_is_that_of_the_password_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", "")
    ensure_home(tmp_path)
    assert Path.home() == Path(pwd.getpwuid(os.getuid()).pw_dir)
    assert "HOME" not in os.environ


def test_whoever_has_a_home_keeps_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/nonexistent")
    before = dict(os.environ)
    ensure_home(tmp_path)
    assert dict(os.environ) == before
    assert not list(tmp_path.iterdir())
