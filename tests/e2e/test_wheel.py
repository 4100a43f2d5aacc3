"""The built packages hold what they should, and the wheel works in an environment that has nothing but the locked packages."""

import os
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import fedpipe

ROOT = Path(__file__).parents[2]
PACKAGES = ("fedpipe", "flows")
pytestmark = pytest.mark.skipif(shutil.which("uv") is None, reason="uv builds and installs")


def uv(*arguments: str) -> None:
    """Run uv on what it has in its cache: `uv sync` brought all packages, and those of the build."""
    command = ["uv", *arguments, "--quiet", "--offline", "--no-config"]  # no bytecode
    subprocess.run(command, check=True, timeout=300)


def package_files(root: Path) -> set[str]:
    """Return the files of the packages below a folder, but for bytecode."""
    files = {path for package in PACKAGES for path in (root / package).rglob("*") if path.is_file()}
    return {path.relative_to(root).as_posix() for path in files if path.suffix != ".pyc"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, clone: Callable[..., Path]) -> Path:
    """What git knows of this work tree."""
    return clone(tmp_path_factory.mktemp("source"), git=False)


@pytest.fixture(scope="module")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--out-dir", str(folder), str(source))
    return folder


def test_the_wheel_has_all_files_of_the_packages_and_nothing_else(
    built: Path, source: Path
) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == package_files(source)
    assert {"fedpipe/py.typed", "fedpipe/templates/dvc.yaml.template"} <= names


def test_the_source_distribution_has_what_a_first_run_needs(built: Path, source: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert package_files(source) <= names
    assert {"LICENSE", "README.md", "pyproject.toml", "uv.lock", "params.yaml", "dvc.yaml"} <= names
    folders = {name.partition("/")[0] for name in names if "/" in name}
    assert folders == {*PACKAGES, "docs", "params"}


@pytest.fixture
def venv(built: Path, tmp_path: Path) -> Iterator[Path]:
    """An environment with the wheel and the locked packages."""
    (wheel,) = built.glob("*.whl")
    folder = tmp_path / "venv"
    uv("venv", "--python", "3.11", str(folder))
    locked = ["--requirement", str(ROOT / "requirements.txt")]
    uv("pip", "install", "--python", str(folder), "--no-deps", *locked, str(wheel))
    yield folder
    shutil.rmtree(folder)  # 3 GB, where uv's cache is on another disk


def test_the_wheel_works_in_an_empty_environment(venv: Path, tmp_path: Path) -> None:
    environment = {
        "HOME": str(tmp_path),
        "PATH": f"{venv / 'bin'}{os.pathsep}/usr/local/bin{os.pathsep}/usr/bin{os.pathsep}/bin",
        "GIT_AUTHOR_NAME": "Tester",
        "GIT_AUTHOR_EMAIL": "tester@example.org",
        "GIT_COMMITTER_NAME": "Tester",
        "GIT_COMMITTER_EMAIL": "tester@example.org",
    }

    def run(*command: str, cwd: Path = tmp_path) -> str:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    program = str(venv / "bin" / "fedpipe")
    assert run(program, "--version") == f"fedpipe {fedpipe.__version__}\n"
    place = run(str(venv / "bin" / "python"), "-P", "-c", "import flows; print(flows.__file__)")
    assert place.startswith(str(venv))
    run(program, "init", "mine")
    assert (tmp_path / "mine" / "own" / "model.py").is_file()
    assert "mnist5k" in run(program, "sources", cwd=tmp_path / "mine")
