"""What `mkdocs.yml` cannot say: the navigation follows the files that are there, and each package has a page made of its docstrings."""

import ast
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PACKAGES = ("fedpipe", "flows")
ROOT = Path(__file__).parents[1]
FROM_ROOT = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Files of the root that the site shows too, and the names of their pages."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the code and complete the navigation."""
    code = _reference() if config.plugins["mkdocstrings"].config.enabled else {}
    for name, text in code.items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    for name, page in FROM_ROOT.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text.replace("](docs/", "](")))
    pages = sorted(file.src_uri for file in files.documentation_pages())
    config.nav = _completed(config.nav or [], pages)
    return files


def _completed(nav: list[Any], pages: list[str]) -> list[Any]:
    """Return `nav` without pages that are not there, with folders (`decisions/`) as their pages, and with the rest under "More"."""
    found: set[str] = set()

    def complete(entries: list[Any]) -> list[Any]:
        kept: list[Any] = []
        for entry in entries:
            ((title, target),) = entry.items()
            inner: Any = target
            if isinstance(target, list):
                inner = complete(target)
            elif target.endswith("/"):
                inner = [page for page in pages if page.startswith(target)]
                found.update(inner)
            elif target in pages:
                found.add(target)
            else:
                inner = None
            if inner:
                kept.append({title: inner})
        return kept

    nav = complete(nav)
    rest = [page for page in pages if page not in found]
    return [*nav, {"More": rest}] if rest else nav


def _reference() -> dict[str, str]:
    """Return a page for each package: what its `__init__` says, then its modules."""
    pages = {}
    for package in sorted(
        path.parent for name in PACKAGES for path in (ROOT / name).rglob("__init__.py")
    ):
        modules = [path for path in sorted(package.glob("*.py")) if not path.name.startswith("_")]
        name = ".".join(package.relative_to(ROOT).parts)
        about = (
            ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8")))
            or ""
        )
        directives = [f"::: {name}.{path.stem}" for path in modules]
        pages[name] = "\n\n".join([f"# `{name}`", about, *directives]) + "\n"
    return pages
