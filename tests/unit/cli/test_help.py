"""`fedpipe --help` has each command below a heading, with a line that tells it from the others."""

import re
from typing import Any

import pytest
from typer.main import get_command

from fedpipe.cli.main import app

PROGRAM: Any = get_command(app)
COMMANDS = {name: command for name, command in PROGRAM.commands.items() if not command.hidden}
PANELS = {"Project", "Train", "Data", "Models", "Lineage", "Team", "DVC stages"}


def short_help(command: Any) -> str:
    """Return the line that stands beside a command in `fedpipe --help`."""
    return str(command.help).partition("\n\n")[0].replace("\n", " ")


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_below_a_heading(name: str) -> None:
    assert COMMANDS[name].rich_help_panel in PANELS


def test_each_heading_has_commands() -> None:
    assert {command.rich_help_panel for command in COMMANDS.values()} == PANELS


def test_no_two_lines_are_equal() -> None:
    lines = [short_help(command) for command in COMMANDS.values()]
    assert len(set(lines)) == len(lines) == 27


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_is_one_line_that_begins_with_a_verb(name: str) -> None:
    line = short_help(COMMANDS[name])
    assert len(line) <= 93, "it breaks in a terminal of 110 columns"
    assert re.match(r"[A-Z][a-z]+ |Stage `(prepare|train|evaluate)`: [a-z]+ ", line)
    assert line.endswith(".")


def test_stages_say_that_they_are_stages() -> None:
    stages = {name for name, command in COMMANDS.items() if short_help(command).startswith("Stage")}
    assert stages == {"prepare", "train", "evaluate"}
    assert all(COMMANDS[name].rich_help_panel == "DVC stages" for name in stages)


def test_train_names_run() -> None:
    assert "`fedpipe run`" in COMMANDS["train"].help
    assert "`fedpipe train`" in COMMANDS["run"].help
