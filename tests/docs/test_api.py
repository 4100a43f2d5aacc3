"""The entry page of the API names what can be imported, and the packages that have a page."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
IMPORTS = re.findall(r"`from ([\w.]+) import ([\w, ]+)` \| `([\w.]+)` \|", PAGE)


def test_there_are_imports_for_jobs() -> None:
    assert len(IMPORTS) >= 15


@pytest.mark.parametrize(("module", "names", "package"), IMPORTS)
def test_what_it_names_can_be_imported_and_has_a_docstring(
    module: str, names: str, package: str
) -> None:
    imported = importlib.import_module(module)
    for name in names.split(", "):
        assert getattr(imported, name).__doc__
    assert (ROOT / package.replace(".", "/") / "__init__.py").exists()
    assert f"{module}.".startswith(f"{package}.")
