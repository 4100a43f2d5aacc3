"""The files that README names are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LINKS = set(re.findall(r"\]\(([\w/.]+)\)", README))
NAMED = set(re.findall(r"`((?:fedpipe|flows|docs)/[\w/.]+)`", README))


@pytest.mark.parametrize("path", sorted(LINKS | NAMED))
def test_files_that_it_names_exist(path: str) -> None:
    assert (ROOT / path).exists()
