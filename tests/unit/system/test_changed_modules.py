"""A project's own module is imported again once its file was changed in the life of the process."""

import importlib
import os
import sys
import time
from pathlib import Path

import pytest

from fedpipe.system.user_modules import forget_changed_modules, use_project_code


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    old = time.time() - 10_000_000
    for name, text in (("mine_a", "VALUE = 1\n"), ("mine_b", "import mine_a\n")):
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        os.utime(path, (old, old))
        monkeypatch.delitem(sys.modules, name, raising=False)  # another test's
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    use_project_code(tmp_path, "mine_b:build", "model.name")
    importlib.import_module("mine_b")
    return tmp_path


def test_files_that_did_not_change_stay_imported(project: Path) -> None:
    before = sys.modules["mine_a"]
    forget_changed_modules(project)
    assert sys.modules["mine_a"] is before


def test_all_are_imported_again_once_one_changed(project: Path) -> None:
    (project / "mine_a.py").write_text("VALUE = 22\n")
    forget_changed_modules(project)
    assert not {"mine_a", "mine_b"} & set(sys.modules)
    module = importlib.import_module("mine_b")
    assert module.mine_a.VALUE == 22
    assert "fedpipe.system.user_modules" in sys.modules
