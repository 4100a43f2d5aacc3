"""Results go to stdout, in tables that fit: a terminal's width, or bounded cells in a file."""

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from pathlib import Path
from typing import Any

import pytest

from fedpipe.cli.output import listing, print_table
from fedpipe.cli.progress import show_summary
from fedpipe.cli.sweep import show_sweep

LONG = "a-name-of-a-run-that-somebody-made-" * 60


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out.splitlines()


def test_in_a_file_a_long_cell_is_cut_and_a_short_one_is_whole(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sha = "0123456789abcdef" * 4
    print_table(("run", "sha", "note"), [(LONG, sha, "x")])
    lines = printed(capsys)
    assert any(sha in line for line in lines)
    assert max(map(len, lines)) < 2 * 80 + 20
    assert any("…" in line for line in lines)


@pytest.mark.parametrize("width", [40, 80, 132])
def test_in_a_terminal_a_table_is_never_wider_than_it(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    with os.fdopen(writer, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        print_table(
            ("run", *(f"algorithm.setting_{n}" for n in range(4))),
            [(LONG, *(n / 7 for n in range(4)))],
            names=("run",),
        )
        terminal.flush()
        shown = re.sub(r"\x1b\[[\d;]*m", "", os.read(reader, 100_000).decode())
    os.close(reader)
    assert max(len(line.rstrip("\r")) for line in shown.split("\n")) <= width
    assert "…" in shown


def test_a_list_of_names_is_cut_with_the_count_of_the_rest() -> None:
    assert (
        listing([f"label-{number}" for number in range(3000)], 30)
        == "label-0, label-1, label-2 (+2997)"
    )
    assert listing([]) == ""


def test_the_result_of_a_run_is_on_stdout(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    figures = {"test/loss": 2.0, "test/accuracy": 0.25}
    summary: dict[str, Any] = {
        "rounds": 3,
        "initial": figures,
        "final": figures | {"test/accuracy": 0.75},
        "git_commit": "none",
        "data_md5": "d" * 32,
        "weights_sha256": "e" * 64,
        "run_dir": "/somewhere",
        "url": "http://127.0.0.1:5000/#/runs/1",
    }
    show_summary(summary, tmp_path)
    lines = printed(capsys)
    assert any("after" in line and "0.7500" in line for line in lines)
    assert "MLflow http://127.0.0.1:5000/#/runs/1" in lines


def test_the_result_of_a_sweep_is_on_stdout_the_best_first(
    capsys: pytest.CaptureFixture[str],
) -> None:
    trials = [
        {"number": 0, "state": "finished", "value": 0.5, "params": {"client.learning_rate": 0.1}},
        {"number": 1, "state": "pruned", "value": None, "params": {"client.learning_rate": 1e-05}},
        {"number": 2, "state": "finished", "value": 0.75, "params": {"client.learning_rate": 0.01}},
    ]
    about = {
        "name": "rates",
        "keys": ["client.learning_rate"],
        "metric": "validation/accuracy",
        "direction": "maximize",
        "preset": "best.yaml",
        "url": "u",
    }
    show_sweep({**about, "children": trials})
    lines = printed(capsys)
    numbers = [
        line.split("│")[1].strip() for line in lines if "finished" in line or "pruned" in line
    ]
    assert numbers == ["2", "0", "1"]
    assert "        uv run fedpipe run --params best.yaml" in lines


def test_the_result_of_a_regression_is_shown_by_its_metric(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    summary: dict[str, Any] = {
        "rounds": 3,
        "initial": {"test/loss": 9.0, "test/rmse": 3.0},
        "final": {"test/loss": 4.0, "test/rmse": 2.0},
        "git_commit": "none",
        "data_md5": "d" * 32,
        "weights_sha256": "e" * 64,
        "run_dir": "/somewhere",
        "url": "http://127.0.0.1:5000/#/runs/1",
    }
    show_summary(summary, tmp_path, "rmse")
    lines = printed(capsys)
    assert any("loss" in line and "rmse" in line for line in lines)
    assert any("after" in line and "4.0000" in line and "2.0000" in line for line in lines)
