"""The documentation builds as a site without a warning, shows what its files say, and needs no network to be read."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.main import get_command

from fedpipe.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))


def build(out: Path, reference: bool) -> Path:
    """Build the site strictly; `reference` adds the pages that are made from docstrings."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    environment = os.environ | {
        "FEDPIPE_DOCS_REFERENCE": str(reference).lower(),
        "NO_MKDOCS_2_WARNING": "1",
    }
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return out


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("site"), reference=False)


class Page(HTMLParser):
    """What a page loads, where it links to, and which anchors it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = {""}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.anchors |= {str(values[name]) for name in ("id", "name") if values.get(name)}
        if tag == "a" and values.get("href"):
            self.links.append(str(values["href"]))
        self.loads += [
            str(values[name])
            for name in ("src", "href", "srcset")
            if tag != "a" and values.get(name)
        ]


def problems(site: Path) -> list[str]:
    """Return links and assets of the site's pages that lead nowhere, and what a page would load from elsewhere."""
    pages = {path: Page(path) for path in site.rglob("*.html") if path.name != "404.html"}
    assert pages
    found = []
    for path, page in pages.items():
        found += [
            f"{path.name} loads {target}" for target in page.loads if re.match(r"(\w+:)?//", target)
        ]
        for link in [*page.links, *page.loads]:
            if re.match(r"\w+:|//", link):
                continue
            name, _, anchor = link.partition("#")
            target = (path.parent / name).resolve() if name else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file() or (target in pages and anchor not in pages[target].anchors):
                found.append(f"{path.name} links to {link}")
    return found


def test_every_page_is_built_and_can_be_reached(site: Path) -> None:
    navigation = (site / "index.html").read_text()
    for page in PAGES:
        name = page.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
        assert (site / name).is_file()
        assert f'href="{name}"' in navigation, f"{name} is not in the navigation"


def test_pages_are_made_of_the_commands_and_of_files_of_the_root(site: Path) -> None:
    commands = (site / "commands.html").read_text()
    for name, command in get_command(app).commands.items():
        assert (f"<code>fedpipe {name}</code>" in commands) is not command.hidden
    assert "client.learning_rate=0.05" in commands
    for name, heading in (("contributing", "Contributing"), ("changelog", "Changelog")):
        assert f'<h1 id="{name}">{heading}' in (site / f"{name}.html").read_text()


def test_links_resolve_and_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    assert problems(site) == []
    styles = " ".join(path.read_text() for path in site.rglob("*.css"))
    assert re.findall(r"url\(['\"]?(?:https?:)?//[^)]*\)|@import[^;]*", styles) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_lists_and_tables_are_shown_as_such(site: Path, page: Path) -> None:
    # A list that follows a line of text, or is nested by less than four spaces, is one for git hosts but not for the site.
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    items = re.findall(r"^( *)(?:[-*]|\d+\.) ", text, re.MULTILINE)
    rows = len(re.findall(r"^\|", text, re.MULTILINE)) - len(
        re.findall(r"^\| ?:?-", text, re.MULTILINE)
    )
    html = (site / page.relative_to(ROOT / "docs").with_suffix(".html")).read_text(encoding="utf-8")
    article = html.partition("<article")[2].partition("</article>")[0]
    assert (article.count("<li"), article.count("<tr")) == (len(items), rows)
    assert all(len(indent) % 4 == 0 for indent in items)


def test_it_is_not_in_git() -> None:
    assert "/site/" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.slow
def test_with_the_pages_of_the_code(tmp_path: Path) -> None:
    site = build(tmp_path, reference=True)
    assert problems(site) == []
    algorithms = (site / "reference" / "fedpipe.algorithms.html").read_text()
    assert 'id="fedpipe.algorithms.fedavg_reference.client_update"' in algorithms
    assert 'href="reference/fedpipe.config.html"' in (site / "api.html").read_text()
    # A doctest is shown as code, not as a quotation.
    assert "<blockquote" not in algorithms
