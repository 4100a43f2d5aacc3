"""How a file is written whole: its permissions, and what a failed write leaves."""

import os
import stat
from pathlib import Path

import pytest

from fedpipe.system.atomic_files import write_atomic


@pytest.fixture(autouse=True)
def _umask() -> object:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.parametrize(("mode", "expected"), [(0o666, 0o644), (0o600, 0o600)])
def test_permissions_are_the_mode_less_the_umask(tmp_path: Path, mode: int, expected: int) -> None:
    write_atomic(tmp_path / "new" / "file", b"\x00", mode=mode)
    assert stat.S_IMODE((tmp_path / "new" / "file").stat().st_mode) == expected
    assert (tmp_path / "new" / "file").read_bytes() == b"\x00"


def test_a_failed_write_leaves_nothing_and_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_atomic(tmp_path / "taken", "text", prefix=".making-")
    assert caught.value.filename is not None
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_the_temporary_file_has_the_prefix_until_it_is_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    replace = os.replace

    def noted(source: str, target: Path) -> None:
        names.append(Path(source).name)
        replace(source, target)

    monkeypatch.setattr(os, "replace", noted)
    write_atomic(tmp_path / "file", "a", prefix=".making-")
    write_atomic(tmp_path / "file", "b")
    assert [name[:-16] for name in names] == [".making-", ".file."]
