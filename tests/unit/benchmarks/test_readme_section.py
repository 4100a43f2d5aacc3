"""The README's performance section is what the script makes of the benchmarks' JSON."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT))

from benchmarks.readme import BEGIN, END, section, with_section  # noqa: E402 - benchmarks are no installed package


def example() -> dict[str, dict[str, object]]:
    work = {"seconds": {"fedpipe": 0.0101, "tutorial": 0.505, "weighted_fed_avg": 0.2, "numpy": 0.01}, "ratio_to_tutorial": 50.0}
    machine = {"cores": 2, "cpu": "a CPU"}
    return {
        "rounds": {"A": work, "B": work, "C": work, "machine": machine},
        "scaling": {"per_client_1000_over_100": 1.014},
        "endtoend": {"fedpipe_seconds": 15.04, "tutorial_seconds": 12.5, "ratio": 1.2, "pairs": [1, 2, 3, 4, 5]},
    }


def test_figures_go_where_they_belong() -> None:
    text = section(example())
    assert "| A: softmax, cohort 10 | 0.0101 | 0.505 | 0.2 | 0.01 | 50.0 |" in text
    assert "takes 1.01 times" in text
    assert "takes 15.0 s" in text
    assert "(median ratio of 5 pairs: 1.20)" in text


def test_only_the_section_is_replaced() -> None:
    assert with_section(f"before\n{BEGIN}\nold\n{END}\nafter", "new") == f"before\n{BEGIN}\nnew\n{END}\nafter"
