"""What the README promises: its figures are a run's, its commands exist, its files are there."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from fedpipe.config import load_config

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = sorted(set(re.findall(r"uv run (fedpipe [^`\n]*)", README)))


@pytest.mark.parametrize("command", COMMANDS)
def test_fedpipe_commands_are_valid(command: str) -> None:
    from typer.main import get_command

    from fedpipe.cli.main import app

    words = shlex.split(command, comments=True)[1:]
    found: Any = get_command(app)
    found = found.commands[words[0]]
    if hasattr(found, "commands") and len(words) > 1 and not words[1].startswith("-"):  # `fedpipe worker certs`: a command of a group
        found = found.commands[words[1]]
    options = {option for parameter in found.params for option in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= options
    settings = [words[i + 1] for i, word in enumerate(words) if word == "-S"]
    load_config(ROOT / "params.yaml", settings)


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"\]\(([\w/.]+)\)", README)) | set(re.findall(r"`((?:fedpipe|flows|docs)/[\w/.]+)`", README)))
)
def test_files_that_it_names_exist(path: str) -> None:
    assert (ROOT / path).exists()
