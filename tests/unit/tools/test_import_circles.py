"""The check for import circles, on packages made up for it."""

from pathlib import Path

import pytest

from tools.import_circles import import_circles, problems


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty package `made_up` that can be imported."""
    package = tmp_path / "made_up"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    return package


def test_imports_in_one_direction_are_no_circle(made_up: Path) -> None:
    (made_up / "low.py").touch()
    (made_up / "middle.py").write_text("from made_up import low\n")
    (made_up / "high.py").write_text("from made_up import low, middle\n")
    assert import_circles("made_up") == set()


def test_imports_in_functions_and_for_types_close_a_circle(made_up: Path) -> None:
    (made_up / "a.py").write_text("def f():\n    from made_up import b\n")
    (made_up / "b.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from made_up.c import C\n"
    )
    (made_up / "c.py").write_text("import made_up.a\nclass C: ...\n")
    (made_up / "beside.py").write_text("from made_up import a\n")
    assert import_circles("made_up") == {frozenset({"made_up.a", "made_up.b", "made_up.c"})}


def test_new_circles_and_known_ones_that_are_gone_are_named() -> None:
    ab = frozenset({"p.a", "p.b"})
    cd = frozenset({"p.c", "p.d"})
    assert problems({ab}, {ab}) == []
    assert problems({ab}, set()) == ["these modules import each other: p.a, p.b"]
    (gone,) = problems(set(), {cd})
    assert "remove it from [tool.fedpipe.import_circles]" in gone
    assert gone.endswith("p.c, p.d")
