"""Every shell block of README and docs runs in order, page by page, in a fresh clone, and prints what the page says.

The sequences of README and of the tour are in the default suite, but for blocks that are marked as slow; with `-m slow` all pages
run whole.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.sequences import ROOT, blocks_of, walk

README = ROOT / "README.md"
QUICK = [README, ROOT / "docs" / "tour.md"]
OTHER_TESTS = {"docs/team.md": "tests/e2e/test_team.py runs it whole, with PostgreSQL and S3"}
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [block for path in PAGES for block in blocks_of(path)]
WALKED = sorted({block.page for block in BLOCKS if block.not_run is None} - set(OTHER_TESTS))
NOT_RUN = [block for block in BLOCKS if block.not_run is not None]


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory, clone: Callable[..., Path]) -> Path:
    """The repository that a reader clones: this work tree as one commit."""
    return clone(tmp_path_factory.mktemp("source") / "fedpipe.system.git")


@pytest.mark.parametrize(
    "block", NOT_RUN, ids=lambda block: f"{block.page}:{block.line}: {block.not_run}"
)
def test_what_is_not_run_says_why(block) -> None:
    assert len(block.not_run.split()) >= 3, "say why"
    for word in block.not_run.replace(",", " ").replace(";", " ").split():
        if word.startswith("tests/"):
            assert (ROOT / word).exists(), f"{word}: no such test"


def test_most_blocks_run() -> None:
    walked = [block for block in BLOCKS if block.not_run is None]
    assert len(walked) > 3 * len(NOT_RUN), [f"{block.page}:{block.line}" for block in NOT_RUN]
    pages = {page.relative_to(ROOT).as_posix() for page in QUICK}
    assert sum(bool(block.shows or block.output) for block in walked if block.page in pages) >= 12


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", QUICK, ids=lambda page: page.stem)
def test_quick_pages_without_their_slow_blocks(page: Path, tmp_path: Path, source: Path) -> None:
    walk(page, tmp_path / "home", source, slow=False)


@pytest.mark.slow
@pytest.mark.timeout(5000)
@pytest.mark.parametrize("page", WALKED)
def test_each_page_from_top_to_bottom(page: str, tmp_path: Path, source: Path) -> None:
    walk(ROOT / page, tmp_path / "home", source, slow=True)
