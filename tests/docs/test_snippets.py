"""What README and docs show as code: Python runs, settings are settings, commands are known to the programs that they call.

Commands are only parsed here, also those within a text; `test_sequences.py` runs what stands in blocks.
"""

import ast
import doctest
import importlib.util
import itertools
import json
import re
import shlex
import textwrap
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedpipe.config import Config, load_config
from fedpipe.config.load import parse_config

ROOT = Path(__file__).parents[2]
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [
    (f"{path.stem}:{found.start()}", found[1], found[2])
    for path in DOCS
    for found in re.finditer(
        r"^```(\S*)\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
]
LANGUAGES = {"", "python", "pycon", "yaml", "toml", "json", "sh", "bash", "console"}
PROGRAMS = ("fedpipe", "dvc", "prefect", "python", "pytest", "mkdocs", "mlflow")


def blocks(*languages: str) -> list[Any]:
    return [pytest.param(text, id=name) for name, language, text in BLOCKS if language in languages]


def commands() -> list[str]:
    """Return the commands of all blocks, and of what stands as one in the text, without `uv run`; one may stand for several."""
    shells = [
        text.replace("\\\n", " ")
        for _, language, text in BLOCKS
        if language in ("", "sh", "bash", "console")
    ]
    lines = [line for text in shells for line in text.splitlines()]
    for path in DOCS:
        prose = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        lines += [" ".join(text.split()) for text in re.findall(r"`(uv run [^`]+)`", prose)]
        # Without `uv run` a word may be a name or a verb: a command has a subcommand that is written out.
        lines += re.findall(r"`((?:fedpipe|dvc|prefect) [^`\n]+)`", prose)
    parts = [
        part.strip() for line in lines for part in re.sub(r"\s+# .*| > \S+$", "", line).split("&&")
    ]
    found = {re.sub(r"^\$ |^uv run (--\S+ )*", "", part) for part in parts}
    return sorted(
        command
        for command in found
        if command.split(" ")[0] in PROGRAMS and re.fullmatch(r"[\x20-\x7e]+", command)
    )


COMMANDS = commands()


def test_there_are_snippets_of_known_kinds() -> None:
    assert {language for _, language, _ in BLOCKS} <= LANGUAGES
    assert len(blocks("python", "pycon")) >= 6
    assert len(COMMANDS) >= 50


@pytest.mark.parametrize("text", blocks("python"))
def test_python_is_quoted_from_a_file_or_is_a_module_that_can_be_imported(
    text: str, tmp_path: Path
) -> None:
    head, _, rest = text.partition("\n")
    name = re.fullmatch(r"# ([\w/]+\.py)", head)
    assert name, f"expected a first line `# FILE.py`, found {head!r}"
    source = ROOT / name[1]
    if source.is_file():
        code = source.read_text(encoding="utf-8")
        assert rest in code or textwrap.indent(rest, "    ") in code
        return
    path = tmp_path / name[1]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    found = importlib.util.spec_from_file_location(f"snippet_{path.stem}", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    functions = [node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    assert functions
    assert all(callable(getattr(module, function)) for function in functions)


@pytest.mark.parametrize(
    "text",
    [block for block in blocks("pycon") if not block.id.startswith("python:")],  # test_python.py
)
def test_sessions_say_what_they_show(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "data/shards" in text:
        from fedpipe.data.prepare import prepare_shards

        prepare_shards(Config().data, tmp_path / "data" / "shards", tmp_path)
    monkeypatch.chdir(tmp_path)
    session = doctest.DocTestParser().get_doctest(text, {}, "snippet", None, None)
    assert session.examples
    said: list[str] = []
    assert doctest.DocTestRunner().run(session, out=said.append).failed == 0, "".join(said)


@pytest.mark.parametrize("text", blocks("yaml"))
def test_yaml_is_settings_or_says_what_else_it_is(text: str) -> None:
    values = yaml.safe_load(text)
    assert isinstance(values, dict)
    of_another_file = (
        re.match(r"# (?!params\.yaml)[\w/.-]+\.yaml\b", text) or "space" in values
    )  # sweeps: tests/docs/test_sweeps.py
    if not of_another_file:
        parse_config(values, "a snippet")


@pytest.mark.parametrize("text", blocks("toml"))
def test_toml_is_toml(text: str) -> None:
    assert tomllib.loads(text)


@pytest.mark.parametrize("text", blocks("json"))
def test_json_is_json(text: str) -> None:
    assert json.loads(text)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_known(command: str) -> None:
    program, *words = shlex.split(command)
    CHECKS[program](words)


def _fedpipe(words: list[str]) -> None:
    from typer.main import get_command

    from fedpipe.cli.main import app

    found: Any = get_command(app)
    words = [word.removesuffix("...") for word in words]
    if words[0] == "--help":
        return
    command = found.commands[words[0]]
    if words[1:] or not any(parameter.required for parameter in command.params):
        command.make_context(words[0], list(words[1:]))  # parses and runs nothing
    params = words[words.index("--params") + 1] if "--params" in words else "params.yaml"
    if params.startswith("params/sweep_"):  # what a sweep writes
        return
    load_config(ROOT / params, [words[i + 1] for i, word in enumerate(words) if word == "-S"])


def _dvc(words: list[str]) -> None:
    from dvc.cli.parser import get_main_parser

    if words in (["add"], ["push"], ["pull"]):  # spoken of
        return
    arguments = get_main_parser().parse_args(words)
    if words[:2] == ["exp", "run"]:
        # A queue takes several values of a setting: `key=1,2`.
        # A plus adds a setting that the file does not have.
        listed = [one.removeprefix("+").partition("=")[::2] for one in arguments.set_param or []]
        for values in itertools.product(
            *(value.split(",") if arguments.queue else [value] for _, value in listed)
        ):
            load_config(
                ROOT / "params.yaml",
                [f"{key}={value}" for (key, _), value in zip(listed, values, strict=True)],
            )


def _prefect(words: list[str]) -> None:
    from prefect.cli import _app

    _app._app.parse_args(words, exit_on_error=False, print_error=False)


def _python(words: list[str]) -> None:
    if words[0] == "-c":
        compile(words[1], "the documentation", "exec")
        return
    assert words[0] == "-m"
    file = words[1].replace(".", "/") + ".py"
    assert any(
        (ROOT / place).exists()
        for place in (file, f"fedpipe/templates/{file}.template", words[1].replace(".", "/"))
    ), words[1]


def _pytest(words: list[str]) -> None:
    assert [word for word in words if word.startswith("--")] == []


def _mkdocs(words: list[str]) -> None:
    from mkdocs.__main__ import cli

    cli.commands[words[0]].make_context(words[0], list(words[1:]))


CHECKS: dict[str, Callable[[list[str]], None]] = {
    "fedpipe": _fedpipe,
    "dvc": _dvc,
    "prefect": _prefect,
    "python": _python,
    "pytest": _pytest,
    "mkdocs": _mkdocs,
    "mlflow": lambda _words: None,  # spoken of; its own command line is run by the tests of models
}
