"""A deferred package is executed by the first use of an attribute, and by nothing else."""

import importlib
import inspect
import sys
from pathlib import Path

import pytest

from fedpipe.system import deferred_imports


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that counts its executions in `counted.txt`, and is deferred."""
    folder = tmp_path / "slow_package"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from pathlib import Path\n"
        "if Path(__file__).with_name('broken').exists(): raise ValueError('broken')\n"
        "with Path(__file__).with_name('counted.txt').open('a') as file: file.write('x')\n"
        "VALUE = 7\n"
    )
    (folder / "part.py").write_text("from slow_package import VALUE\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(deferred_imports, "_DEFERRED", ("slow_package",))
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    for name in ("slow_package", "slow_package.part"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    deferred_imports.defer_imports()
    deferred_imports.defer_imports()
    return folder


def executions(package: Path) -> int:
    counted = package / "counted.txt"
    return len(counted.read_text()) if counted.exists() else 0


def test_an_import_and_a_look_at_its_file_do_not_execute_it(package: Path) -> None:
    module = importlib.import_module("slow_package")
    assert module.__file__ == str(package / "__init__.py")
    assert inspect.getsourcefile(module) == str(package / "__init__.py")
    assert executions(package) == 0
    assert (module.VALUE, module.VALUE, executions(package)) == (7, 7, 1)
    with pytest.raises(AttributeError):
        _ = module.MISSING


def test_the_import_of_a_submodule_executes_it_first(package: Path) -> None:
    importlib.import_module("slow_package")
    assert importlib.import_module("slow_package.part").VALUE == 7
    assert executions(package) == 1


def test_an_error_is_raised_where_it_is_used_and_it_can_be_tried_again(package: Path) -> None:
    module = importlib.import_module("slow_package")
    (package / "broken").touch()
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            _ = module.VALUE
    (package / "broken").unlink()
    assert module.VALUE == 7
