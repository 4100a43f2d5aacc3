"""README is short, and the files that it and the documentation name exist."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.tags import sys_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

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


def download_bytes() -> dict[str, int]:
    """Return the size of what uv downloads for each package that is installed here, from the lock."""
    installed = {
        canonicalize_name(distribution.name) for distribution in importlib.metadata.distributions()
    }
    order = {tag: place for place, tag in enumerate(sys_tags())}
    sizes = {}
    for package in tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]:
        if package["name"] not in installed or not package["source"].get("registry"):
            continue
        places = {}
        for wheel in package.get("wheels", []):
            name = wheel["url"].rpartition("/")[2].replace("%2B", "+")
            fitting = [order[tag] for tag in parse_wheel_filename(name)[3] if tag in order]
            if fitting:
                places[min(fitting)] = wheel["size"]
        sizes[package["name"]] = (
            places[min(places)] if places else package.get("sdist", {}).get("size", 0)
        )
    return sizes


def test_the_download_has_the_size_that_readme_states() -> None:
    sizes = download_bytes()
    assert "about 330 packages" in README
    assert len(sizes) == pytest.approx(330, abs=20)
    assert "| 1.0 GB, half of it TensorFlow;" in README
    assert sum(sizes.values()) == pytest.approx(1.0e9, rel=0.05)
    assert sizes["tensorflow"] == pytest.approx(sum(sizes.values()) / 2, rel=0.1)
