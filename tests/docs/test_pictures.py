"""The screenshots of README and docs are there, are small, and are the only binary files in git. The tests marked `browser` make
them."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PICTURES = [
    "docs/pictures/compare_runs.png",
    "docs/pictures/prefect_run.png",
    "docs/pictures/report.png",
]


@pytest.mark.parametrize("picture", PICTURES)
def test_the_picture_is_a_small_png_that_a_page_shows(picture: str) -> None:
    data = (ROOT / picture).read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert data.rstrip().endswith(b"IEND\xaeB`\x82")
    assert len(data) < 300_000
    assert f"]({picture.removeprefix('docs/')})" in (ROOT / "docs" / "tour.md").read_text()


def test_the_readme_shows_one_picture() -> None:
    pictures = re.findall(r"!\[.+\]\((.+)\)", (ROOT / "README.md").read_text())
    assert len(pictures) == 1
    assert pictures[0] in PICTURES


@pytest.mark.parametrize("diagram", sorted((ROOT / "docs" / "pictures").glob("*.svg")))
def test_diagrams_are_drawings_that_a_page_shows(diagram: Path) -> None:
    text = diagram.read_text(encoding="utf-8")
    assert re.fullmatch(r"<svg .*<title .*<desc .*</svg>\n", text, re.DOTALL)
    assert re.findall(r"(?:href|src)=|url\((?!#)", text) == []  # nothing from elsewhere
    pages = (ROOT / "docs").glob("*.md")
    assert any(f"](pictures/{diagram.name})" in page.read_text() for page in pages)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="only git knows which files are tracked")
def test_they_are_the_only_binary_files_in_git() -> None:
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=True
    ).stdout
    files = [name for name in listed.split("\0") if name and (ROOT / name).is_file()]
    # git's own rule: a file with a zero byte near its start is binary.
    assert [name for name in files if b"\0" in (ROOT / name).read_bytes()[:8000]] == PICTURES
