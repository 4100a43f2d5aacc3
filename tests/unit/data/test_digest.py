from pathlib import Path

import pytest

from fedpipe.data.digest import IGNORED, dvc_md5
from fedpipe.errors import DataError


def test_a_files_md5_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert dvc_md5(tmp_path / "f") == "900150983cd24fb0d6963f7d28e17f72"  # RFC 1321, A.5


def test_a_folders_md5_follows_names_and_contents_alone(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder, names in ((one, ["a", "b/c"]), (other, ["b/c", "a"])):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(name)
    assert dvc_md5(one) == dvc_md5(other)
    assert dvc_md5(one).endswith(".dir")
    (one / "__pycache__").mkdir()
    (one / "__pycache__" / "a.cpython-311.pyc").write_text("x")
    (one / "empty").mkdir()
    assert dvc_md5(one) == dvc_md5(other)
    (one / "a").rename(one / "z")
    assert dvc_md5(one) != dvc_md5(other)


def test_the_names_left_out_are_those_of_dvcignore() -> None:
    lines = (Path(__file__).parents[3] / ".dvcignore").read_text().splitlines()
    assert tuple(line for line in lines if line and not line.startswith("#")) == IGNORED


def test_nothing_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone: expected a file or folder"):
        dvc_md5(tmp_path / "gone")
