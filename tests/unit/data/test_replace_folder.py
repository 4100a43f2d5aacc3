import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fedpipe.data import replace_folder
from fedpipe.data.replace_folder import replaced_folder


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "deep" / "out"
    with replaced_folder(folder) as new:
        (new / "a").write_text("old")
        (new / "b").write_text("old")
    return folder


def replace_with(folder: Path, text: str) -> None:
    with replaced_folder(folder) as new:
        assert not list(new.iterdir())
        (new / "a").write_text(text)


def test_the_folder_is_made_and_then_replaced_wholly(out: Path) -> None:
    assert contents(out) == {"a": "old", "b": "old"}
    replace_with(out, "new")
    assert contents(out) == {"a": "new"}
    assert os.listdir(out.parent) == ["out"]


def test_where_names_cannot_be_exchanged_the_old_folder_is_moved_away(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replace_folder, "_exchange", lambda *_: False)
    replace_with(out, "new")
    assert contents(out) == {"a": "new"}
    assert os.listdir(out.parent) == ["out"]


def test_this_system_exchanges_names(out: Path) -> None:
    other = out.with_name("other")
    other.mkdir()
    assert replace_folder._exchange(other, out)
    assert contents(other) == {"a": "old", "b": "old"}


def test_an_error_leaves_the_old_folder_and_nothing_else(out: Path) -> None:
    def fail() -> None:
        with replaced_folder(out) as new:
            (new / "a").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert contents(out) == {"a": "old", "b": "old"}
    assert os.listdir(out.parent) == ["out"]


def test_a_kill_half_way_leaves_the_old_folder_and_the_next_cleans_up(out: Path) -> None:
    script = (
        "import os, signal, sys, pathlib; from fedpipe.data.replace_folder import replaced_folder\n"
        "with replaced_folder(pathlib.Path(sys.argv[1])) as new:\n"
        "    (new / 'a').write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(out)], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert contents(out) == {"a": "old", "b": "old"}
    replace_with(out, "new")
    assert contents(out) == {"a": "new"}
    assert os.listdir(out.parent) == ["out"]


def test_a_link_to_a_folder_stays_a_link(out: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(out)
    replace_with(link, "new")
    assert link.is_symlink()
    assert contents(out) == {"a": "new"}
