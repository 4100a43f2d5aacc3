"""The benchmarks' short form: a regression of the engine's speed fails here, under half of each bar."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_rounds_reach_half_of_each_bar(tmp_path: Path) -> None:
    out, err = tmp_path / "stdout", tmp_path / "stderr"
    with (
        out.open("w") as stdout,
        err.open("w") as stderr,
    ):  # files, never pipes: see docs/benchmarks.md
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "benchmarks.rounds",
                "--short",
                "--check-fraction",
                "0.5",
                "--json",
            ],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            timeout=850,
            check=False,
        )
    assert done.returncode == 0, err.read_text()
    lines = out.read_text().splitlines()
    assert len(lines) == 1
    result = json.loads(lines[0])
    assert set(result) == {"A", "B", "C", "machine"}
    for work in "ABC":
        figures = result[work]
        assert {
            "seconds",
            "first_round_seconds",
            "memory_mb",
            "ratio_to_tutorial",
            "ratio_to_floor",
        } <= set(figures)
        assert {"fedpipe", "tutorial"} <= set(figures["seconds"])
        assert (
            figures["ratio_to_tutorial"]
            == figures["seconds"]["tutorial"] / figures["seconds"]["fedpipe"]
        )
    assert (
        result["B"]["ratio_to_floor"]
        == result["B"]["seconds"]["fedpipe"] / result["B"]["seconds"]["numpy"]
    )
    assert result["machine"]["cores"] >= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "keys"),
    [
        ("accuracy", {"mnist5k", "points_below_centralized", "machine"}),
        ("cost", {"softmax", "machine"}),
    ],
)
def test_comparisons_of_algorithms_run_in_short(
    module: str, keys: set[str], tmp_path: Path
) -> None:
    out, err = tmp_path / "stdout", tmp_path / "stderr"
    with out.open("w") as stdout, err.open("w") as stderr:
        command = [sys.executable, "-m", f"benchmarks.{module}", "--short", "--json"]
        done = subprocess.run(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            timeout=250,
            check=False,
        )
    assert done.returncode == 0, err.read_text()
    result = json.loads(out.read_text())
    assert set(result) == keys
    if module == "accuracy":
        assert all(
            0 <= found["accuracy_mean"] <= 1 for found in result["mnist5k"]["softmax"].values()
        )
    else:
        assert result["softmax"]["fedavg"]["relative"] == 1.0


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_lineage_reproduces_a_run_and_finds_the_models_of_a_client(tmp_path: Path) -> None:
    out, err = tmp_path / "stdout", tmp_path / "stderr"
    with out.open("w") as stdout, err.open("w") as stderr:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.lineage", "--runs", "30", "--json"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            timeout=1100,
            check=False,
        )
    assert done.returncode == 0, err.read_text()
    result = json.loads(out.read_text())
    assert (result["reproduced"], result["models_found"], result["models_marked"]) == (
        "identical",
        2,
        2,
    )
    assert result["index_seconds_30_runs"] > 0
    assert (result["children_finished"], result["children_repeated"], result["orphans"]) == (
        8,
        0,
        0,
    )
