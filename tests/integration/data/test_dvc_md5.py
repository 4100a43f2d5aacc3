import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from fedpipe.config import DataConfig
from fedpipe.data.digest import dvc_md5
from fedpipe.data.prepare import prepare_shards


def run(root: Path, *command: str) -> None:
    environment = os.environ | {
        "DVC_NO_ANALYTICS": "true",
        "DVC_SITE_CACHE_DIR": str(root / "site"),
    }
    subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True, timeout=120)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    root.mkdir()
    run(root, "git", "init", "--quiet")
    run(root, sys.executable, "-m", "dvc", "init", "--quiet")
    (root / ".dvcignore").write_bytes((Path(__file__).parents[3] / ".dvcignore").read_bytes())
    return root


def test_the_md5_is_the_one_that_dvc_records(repository: Path) -> None:
    prepare_shards(DataConfig(), repository / "shards", repository)
    mixed = repository / "mixed"
    # Order of paths, names beyond ASCII, line ends, empty files and folders, and what .dvcignore leaves out.
    for name, content in {
        "b": b"1",
        "a/z": b"2",
        "a-b": b"3",
        "a/ü": b"\r\n\r\n",
        "B": b"",
        "__pycache__/m.pyc": b"x",
        "a/n.pyc": b"y",
    }.items():
        (mixed / name).parent.mkdir(parents=True, exist_ok=True)
        (mixed / name).write_bytes(content)
    (mixed / "empty").mkdir()
    (repository / "file.txt").write_bytes(b"line\r\nline\n")
    names = ["shards", "mixed", "file.txt"]
    run(repository, sys.executable, "-m", "dvc", "add", "--quiet", *names)
    for name in names:
        recorded = yaml.safe_load((repository / f"{name}.dvc").read_text())["outs"][0]
        assert recorded["hash"] == "md5"
        assert dvc_md5(repository / name) == recorded["md5"]
