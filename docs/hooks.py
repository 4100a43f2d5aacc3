"""What `mkdocs.yml` cannot say: the navigation follows the files that are there, and each package has a page made of its docstrings."""

import ast
import re
from inspect import cleandoc
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from typer.main import get_command

from fedpipe.cli.main import PANELS, app

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
    files.append(File.generated(config, "commands.md", content=_commands()))
    pages = sorted(file.src_uri for file in files.documentation_pages())
    config.nav = _completed(config.nav or [], pages)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Link packages that the entry page of the API names to their pages."""
    if page.file.src_uri != "api.md":
        return markdown

    def linked(name: re.Match[str]) -> str:
        target = f"reference/{name[1]}.md"
        return f"[{name[0]}]({target})" if files.get_file_from_path(target) else name[0]

    return re.sub(r"`([a-z_.]+)`(?= \|$)", linked, markdown, flags=re.MULTILINE)


def _commands() -> str:
    """Return the page of all commands: below the headings of `fedpipe --help`, with arguments and options."""
    program: Any = get_command(app)
    lines = ["# Commands", "", "Made from `fedpipe --help`."]
    panel = ""
    commands = [command for command in program.commands.values() if not command.hidden]
    for command in sorted(
        commands, key=lambda command: list(PANELS).index(command.rich_help_panel)
    ):
        if command.rich_help_panel != panel:
            panel = command.rich_help_panel
            lines += ["", f"## {panel}"]
        lines += _command(f"fedpipe {command.name}", command)
        for child in getattr(command, "commands", {}).values():
            lines += _command(f"fedpipe {command.name} {child.name}", child)
    return "\n".join(lines) + "\n"


def _command(name: str, command: Any) -> list[str]:
    """Return the section of a command: what it does, and a table of its arguments and options."""
    rows = [
        f"| `{_shown(parameter)}` | {_cell(parameter.help)} |"
        for parameter in command.params
        if getattr(parameter, "help", None)
    ]
    table = ["", "| argument or option | meaning |", "| --- | --- |", *rows] if rows else []
    return ["", f"### `{name}`", "", cleandoc(command.help), *table]


def _shown(parameter: Any) -> str:
    """Return an option as it is typed, or the name of an argument in capitals."""
    if parameter.param_type_name == "option":
        return ", ".join(parameter.opts)
    return str(parameter.metavar or parameter.name.upper())


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


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
