"""Faults made for real, by the benchmark that counts what is lost: two of them here, all of them with `-m slow`, kind by kind."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
STOCK = ("killed between rounds", "killed in a round", "SIGSTOP")


def faults(folder: Path, *options: str, timeout: int) -> dict[str, Any]:
    """Run the benchmark; return its JSON. Its output goes to files: a program that left a process behind would keep a pipe open."""
    out, err = folder / "stdout", folder / "stderr"
    with out.open("w") as stdout, err.open("w") as stderr:
        command = [sys.executable, "-m", "benchmarks.faults", "--json", *options]
        done = subprocess.run(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            timeout=timeout,
            check=False,
        )
    assert done.returncode == 0, err.read_text()
    (line,) = out.read_text().splitlines()
    result: dict[str, Any] = json.loads(line)
    return result


def test_a_worker_and_then_the_whole_run_are_killed_and_nothing_is_lost(tmp_path: Path) -> None:
    result = faults(tmp_path, "--short", timeout=280)
    assert [one["fault"] for one in result["faults"]] == [
        "worker killed in a round",
        "SIGKILL of the run in a round",
    ]
    counts = {
        name: result[name]
        for name in ("made", "survived", "steps_lost", "steps_doubled", "orphans", "weights_equal")
    }
    assert counts == {
        "made": 2,
        "survived": 2,
        "steps_lost": 0,
        "steps_doubled": 0,
        "orphans": 0,
        "weights_equal": 2,
    }
    assert result["stock"] == {}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("group", "most"),
    [
        ("kills", 20),
        ("signals", 3),
        ("workers", 3),
        ("stores", 4),
        ("disk", 3),
        ("clients", 1),
        ("machine", 4),
    ],
)
def test_every_fault_of_a_kind_is_survived(tmp_path: Path, group: str, most: int) -> None:
    result = faults(tmp_path, "--only", group, timeout=3500)
    found = [one["fault"] for one in result["faults"]]
    left_out = (
        (tmp_path / "stderr").read_text().count("left out:")
    )  # what needs rights or programs that are not here
    assert len(found) + left_out == most, found
    assert (result["made"], result["survived"], result["weights_equal"]) == (len(found),) * 3
    assert (result["steps_lost"], result["steps_doubled"], result["orphans"]) == (0, 0, 0)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_stock_tff_did_is_beside_it(tmp_path: Path) -> None:
    stock = faults(tmp_path, "--only", "stock", timeout=850)["stock"]
    assert tuple(stock) == STOCK
    assert {key for one in stock.values() for key in one} == {"survived", "seconds", "note"}
