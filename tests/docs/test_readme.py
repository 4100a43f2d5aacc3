"""README is short, and the files that it and the documentation name exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([\w/.-]+?)(?:#[\w-]+)?\)")
"""A link to a file, without its anchor; addresses have a colon and do not match."""
NAMED = re.compile(r"`((?:fedpipe|flows|docs|tests|benchmarks)/[\w/.]+)`")


def paths_of(page: Path) -> set[Path]:
    """Return the files that a page links to or names from the root."""
    text = page.read_text(encoding="utf-8")
    links = {page.parent / target for target in LINK.findall(text)}
    return links | {ROOT / name for name in NAMED.findall(text)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_it_names_exist(page: Path) -> None:
    assert sorted(path for path in paths_of(page) if not path.exists()) == []


def test_pages_name_files() -> None:
    assert len(paths_of(ROOT / "README.md")) >= 25
    assert len(paths_of(ROOT / "docs" / "code_map.md")) >= 25


def test_readme_is_short() -> None:
    assert README.count("\n") <= 150


def test_readme_links_to_every_page() -> None:
    linked = paths_of(ROOT / "README.md")
    unlinked = [page for page in sorted((ROOT / "docs").glob("*.md")) if page not in linked]
    assert unlinked == [ROOT / "docs" / "index.md"]
