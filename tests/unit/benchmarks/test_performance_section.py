"""The section "How fast" of docs/performance.md is what the script makes of the benchmarks' JSON."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT))

from benchmarks.performance import BEGIN, END, WORKS, section, with_section  # noqa: E402 - benchmarks are no installed package
from benchmarks.rounds import missed_bars  # noqa: E402


def example() -> dict[str, dict[str, object]]:
    work = {
        "seconds": {"fedpipe": 0.0101, "tutorial": 0.505, "weighted_fed_avg": 0.2, "numpy": 0.01},
        "ratio_to_tutorial": 50.0,
    }
    machine = {"cores": 2, "cpu": "a CPU"}
    return {
        "rounds": {"A": work, "B": work, "C": work, "machine": machine},
        "scaling": {"per_client_1000_over_100": 1.014},
        "endtoend": {
            "fedpipe_seconds": 15.04,
            "tutorial_seconds": 12.5,
            "ratio": 1.2,
            "pairs": [1, 2, 3, 4, 5],
        },
    }


def test_figures_go_where_they_belong() -> None:
    text = section(example())
    assert "| A: softmax, cohort 10 | 0.0101 | 0.505 | 0.2 | 0.01 | 50.0 |" in text
    assert "takes 1.01 times" in text
    assert "takes 15.0 s" in text
    assert "(median ratio of 5 pairs: 1.20)" in text


def test_only_the_section_is_replaced() -> None:
    assert (
        with_section(f"before\n{BEGIN}\nold\n{END}\nafter", "new")
        == f"before\n{BEGIN}\nnew\n{END}\nafter"
    )


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("| \n").split("|")]


def test_the_pages_figures_hang_together_and_reach_the_bars() -> None:
    """The section is written by the script; a figure that was typed by hand would not fit the others."""
    text = (ROOT / "docs" / "performance.md").read_text().split(BEGIN)[1].split(END)[0]
    rows = {
        line[2]: cells(line)
        for line in text.splitlines()
        if line.startswith(("| A: ", "| B: ", "| C: "))
    }
    first = text.split("Other frameworks")[0]
    for work, label in WORKS.items():
        (line,) = [line for line in first.splitlines() if line.startswith(f"| {label} |")]
        _, fedpipe, tutorial, _, floor, ratio = cells(line)
        assert float(ratio) == pytest.approx(float(tutorial) / float(fedpipe), rel=0.01)
        found = {
            "ratio_to_tutorial": float(tutorial) / float(fedpipe),
            "ratio_to_floor": float(fedpipe) / float(floor),
        }
        assert missed_bars({work: found}, fraction=0.99) == []
    assert set(rows) == set(WORKS)
    for line in text.split("Other frameworks")[1].splitlines():
        if line.startswith(("| A: ", "| B: ", "| C: ")):
            _, fedpipe, *peers = cells(line)
            assert all(float(fedpipe) < float(peer) for peer in peers if peer != "-"), (
                "fedpipe is first"
            )
    sizes = {
        int(cells(line)[0].replace(",", "")): list(map(float, cells(line)[1:]))
        for line in text.splitlines()
        if line[2:3].isdigit()
    }
    assert sorted(sizes) == [100, 10_000, 100_000]
    assert sizes[100_000][4] - sizes[100][4] < 150
    assert sizes[100_000][0] / sizes[10_000][0] < 12.1
    assert sizes[100_000][3] <= 1.15 * sizes[100][3]
