"""The page of supported versions says what `pyproject.toml` and the imports say."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "versions.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, without its head."""
    text = re.split(r"^#+ ", PAGE.split(f"# {heading}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines[2:]]


def test_each_override_is_explained() -> None:
    table = rows("Overrides")
    assert [row[0].strip("`") for row in table] == PROJECT["tool"]["uv"]["override-dependencies"]
    assert all(reason and end for _, reason, end in table)


def test_versions_are_those_of_the_project() -> None:
    packages = {
        "TensorFlow": "tensorflow",
        "TensorFlow Federated": "tensorflow-federated",
        "NumPy": "numpy",
        "MLflow": "mlflow",
        "DVC": "dvc",
        "Prefect": "prefect",
    }
    stated = {program: version.strip("`") for program, version, _ in rows("Supported versions")}
    assert stated.pop("Python") == PROJECT["project"]["requires-python"]
    assert set(stated) == set(packages)
    for program, version in stated.items():
        assert packages[program] + version in PROJECT["project"]["dependencies"]


def test_imports_that_tff_does_not_publish_are_all_named() -> None:
    pattern = re.compile(
        r"^\s*(?:from|import) (tensorflow_federated\.(?:proto|python)[\w.]*)", re.MULTILINE
    )
    imports = {}
    for path in [*(ROOT / "fedpipe").rglob("*.py"), *(ROOT / "flows").rglob("*.py")]:
        modules = set(pattern.findall(path.read_text(encoding="utf-8")))
        if modules:
            imports[path.relative_to(ROOT).as_posix()] = modules
    stated = {
        file.strip("`"): set(re.findall(r"`([\w.]+)`", modules))
        for file, modules in rows("Modules that TFF does not publish")
    }
    assert stated == imports
