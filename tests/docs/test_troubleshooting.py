"""The troubleshooting page has a symptom, a cause and a fix for each class of error."""

import importlib
import re
from pathlib import Path

from fedpipe.errors import FedpipeError

ROOT = Path(__file__).parents[2]
PAGE = (
    (ROOT / "docs" / "troubleshooting.md")
    .read_text(encoding="utf-8")
    .split("# Errors by class\n")[1]
)
MODULES = ("fedpipe.errors", "fedpipe.data.download", "fedpipe.engine.remote.control")


def classes(base: type[FedpipeError]) -> set[str]:
    """Return the names of a class and of all classes below it that fedpipe defines."""
    inner = [
        classes(child) for child in base.__subclasses__() if child.__module__.startswith("fedpipe.")
    ]
    return {base.__name__}.union(*inner)


def test_each_class_of_error_has_a_row() -> None:
    for module in MODULES:
        importlib.import_module(module)
    rows = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| `")]
    assert {row[0].strip("`") for row in rows} == classes(FedpipeError)
    assert all(len(row) == 4 and all(row) for row in rows)


def test_classes_of_error_are_found_in_the_named_modules() -> None:
    pattern = re.compile(r"^class \w+\((?:\w+Error|EnvironmentProblem)\):", re.MULTILINE)
    names = classes(FedpipeError)
    for path in (ROOT / "fedpipe").rglob("*.py"):
        for line in pattern.findall(path.read_text(encoding="utf-8")):
            name, base = re.findall(r"\w+", line)[1:3]
            assert base not in names or name in names, f"{path}: {name} is not on the page"
