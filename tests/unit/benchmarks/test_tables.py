"""The tables of costs and accuracies are what the script makes of the benchmarks' JSON."""

import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT))

from benchmarks.accuracy import (  # noqa: E402 - benchmarks are no installed package
    BAR,
    BAR_POINTS,
    OWN,
    POPULATIONS,
    bar_config,
    config_of,
    points_below,
)
from benchmarks.cost import VARIANTS  # noqa: E402
from benchmarks.tables import accuracy_section, cost_section, joined, lineage_section, with_section  # noqa: E402
from fedpipe.config.algorithm_table import ALGORITHMS  # noqa: E402
from fedpipe.data.cohort_plan import plan_cohorts  # noqa: E402

MACHINE = {"cores": 2, "cpu": "a CPU"}


def test_all_algorithms_are_measured() -> None:
    named = set(ALGORITHMS) - {"fedavg_reference"}
    assert set(OWN) == named
    assert {str(own.get("algorithm.name", "fedavg")) for own in VARIANTS.values()} == named


@pytest.mark.parametrize("algorithm", OWN)
@pytest.mark.parametrize(("data", "rounds", "in_all"), [("mnist5k", 100, 20), ("emnist", 500, 10)])
def test_all_algorithms_take_as_many_epochs(
    algorithm: str, data: str, rounds: int, in_all: int
) -> None:
    config = config_of(algorithm, "softmax", POPULATIONS[data], seed=1, rounds=rounds)
    epochs = (
        config.client.epochs if algorithm != "fedsgd" else POPULATIONS[data].get("client.epochs", 2)
    )  # its step: docs/benchmarks.md
    assert config.rounds * config.cohort.size * epochs / POPULATIONS[data]["data.clients"] == in_all


def test_costs_go_where_they_belong() -> None:
    result: dict[str, Any] = {
        "softmax": {
            "fedavg": {"seconds": 0.01, "relative": 1.0},
            "scaffold": {"seconds": 0.0312, "relative": 3.12},
        }
    }
    text = cost_section({**result, "cnn": result["softmax"], "machine": MACHINE})
    assert "| `scaffold` | 3.12 (0.0312) | 3.12 (0.0312) |" in text
    assert "2 cores of a CPU" in text


def test_the_time_of_a_clients_question_is_stated() -> None:
    text = lineage_section(
        {"lineage_seconds_2000_runs": 4.835, "index_seconds_2000_runs": 43.6, "machine": MACHINE}
    )
    assert "answers in 4.8 s, the start of the program included, and in 44 s when" in text
    document = (ROOT / "docs" / "lineage.md").read_text()
    stated = document.split("<!-- lineage -->\n")[1].split("\n<!-- /lineage -->")[0]
    seconds = [float(words.split(" s")[0]) for words in stated.split(" in ")[1:3]]
    assert 0 < seconds[0] < seconds[1]
    assert "2 cores of AMD EPYC" in stated


def test_accuracies_stand_beside_the_settings_that_made_them() -> None:
    settings = {"rounds": 100, "client.learning_rate": 0.1, "algorithm.name": "fedavg"}
    found = {
        "accuracy_mean": 0.91234,
        "accuracy_std": 0.00123,
        "accuracies": [0.9, 0.91, 0.92],
        "settings": settings,
    }
    other = found | {"settings": settings | {"algorithm.name": "fedprox", "algorithm.mu": 0.01}}
    text = accuracy_section(
        {"mnist5k": {"softmax": {"fedavg": found, "fedprox": other}}, "machine": MACHINE}
    )
    assert "| `fedprox` | 91.23 ± 0.12 | `algorithm.mu=0.01` |" in text
    assert "All others: `rounds=100`, `client.learning_rate=0.1`." in text
    faster = found | {"settings": settings | {"client.learning_rate": 0.2}}
    two = accuracy_section(
        {
            "mnist5k": {"softmax": {"fedavg": found, "fedprox": other}, "cnn": {"fedavg": faster}},
            "machine": MACHINE,
        }
    )
    assert "| `fedprox` | 91.23 ± 0.12 | not measured | `algorithm.mu=0.01` |" in two
    assert (
        "All others: `rounds=100`, `client.learning_rate=0.1`. 5,000 digits, cnn: `client.learning_rate=0.2`."
        in two
    )
    wider = found | {"settings": settings | {"algorithm.mu": 0.01, "cohort.size": 100}}
    both = accuracy_section(
        {
            "mnist5k": {
                m: {"fedavg": found, "fedprox": o} for m, o in (("softmax", other), ("cnn", wider))
            }
        }
    )
    assert "| `algorithm.mu=0.01`; 5,000 digits, cnn: `cohort.size=100` |" in both
    local = {"rounds": 100, "client.learning_rate": 0.1, "client.epochs": 2}
    plain = {
        name: found | {"settings": settings}
        for name, settings in (("fedavg", local), ("one", settings))
    }
    text = accuracy_section(
        {
            "mnist5k": {"softmax": {"fedavg": plain["fedavg"]}, "cnn": {"fedavg": plain["one"]}},
            "machine": MACHINE,
        }
    )
    assert "5,000 digits, cnn: `client.epochs=1`." in text, (
        "the default, where the first column has another value"
    )


def test_accuracies_of_several_commands_are_joined() -> None:
    one, two, three = {"accuracy_mean": 0.1}, {"accuracy_mean": 0.2}, {"accuracy_mean": 0.3}
    parts = [
        {"mnist5k": {"cnn": {"centralized": one}}, "machine": MACHINE},
        {
            "mnist5k": {"softmax": {"fedavg": three}, "cnn": {"fedavg": two}},
            "points_below_centralized": {},
        },
    ]
    whole = joined(parts)
    assert whole == {
        "mnist5k": {"softmax": {"fedavg": three}, "cnn": {"fedavg": two, "centralized": one}}
    }
    assert [list(whole["mnist5k"]), list(whole["mnist5k"]["cnn"])] == [
        ["softmax", "cnn"],
        ["fedavg", "centralized"],
    ]
    with pytest.raises(ValueError, match="found mnist5k, cnn: fedavg in two files"):
        joined([*parts, {"mnist5k": {"cnn": {"fedavg": one}}}])


def test_points_below() -> None:
    found = {"fedavg": {"accuracy_mean": 0.966}, "centralized": {"accuracy_mean": 0.97}}
    assert points_below(found) == pytest.approx(0.4)


@pytest.mark.parametrize("data", POPULATIONS)
def test_the_bar_takes_every_example_as_often(data: str) -> None:
    fedavg, centralized = (
        bar_config(name, POPULATIONS[data], seed=2) for name in ("fedavg", "centralized")
    )
    clients = POPULATIONS[data]["data.clients"]
    ids = [f"client {number}" for number in range(clients)]
    seen = [
        Counter(
            c for cohort in plan_cohorts(ids, one.cohort, one.rounds, 2).cohorts for c in cohort
        )
        for one in (fedavg, centralized)
    ]
    assert set(seen[0].values()) == set(seen[1].values()) == {10}
    assert set(seen[0]) == set(ids)
    assert centralized.cohort.size == clients
    for name in ("epochs", "learning_rate", "batch_size", "optimizer"):
        assert getattr(fedavg.client, name) == getattr(centralized.client, name)
    assert fedavg.model.name == centralized.model.name == "cnn"


def test_the_bar_stands_under_the_table() -> None:
    found = {
        "accuracy_mean": 0.91,
        "accuracy_std": 0.01,
        "accuracies": [0.9, 0.91, 0.92],
        "settings": {"rounds": 100, **BAR},
    }
    result = {"mnist5k": {"cnn": {"fedavg": found, "centralized": found}}}
    equal = {
        "equal_epochs": {
            "mnist5k": {"fedavg": found, "centralized": found | {"accuracy_mean": 0.92}}
        },
        "machine": MACHINE,
    }
    text = accuracy_section(joined([result, equal]))
    assert "`client.learning_rate=0.15`, every example in exactly as many epochs of both: " in text
    assert "5,000 digits: `fedavg` 91.00 ± 1.00, `centralized` 92.00 ± 1.00." in text
    assert "exactly as many epochs" not in accuracy_section(joined([result]))


def test_only_the_section_is_replaced() -> None:
    assert (
        with_section("a\n<!-- cost -->\nold\n<!-- /cost -->\nb", "cost", "new")
        == "a\n<!-- cost -->\nnew\n<!-- /cost -->\nb"
    )
    with pytest.raises(ValueError, match="expected the marker <!-- accuracy -->"):
        with_section("a", "accuracy", "new")


def rows_of(document: str, name: str) -> dict[str, list[str]]:
    """Return the cells of each row of a section's table that starts with a name in backticks."""
    text = document.split(f"<!-- {name} -->")[1].split(f"<!-- /{name} -->")[0]
    cells = [
        [cell.strip() for cell in line.strip("| ").split("|")]
        for line in text.splitlines()
        if line.startswith("| `")
    ]
    return {first.strip("`"): rest for first, *rest in cells}


def test_the_documents_figures_hang_together() -> None:
    """They are written by the script; a figure that was typed by hand would not fit the others. Before the first run there are none."""
    costs = rows_of((ROOT / "docs" / "algorithms.md").read_text(), "cost")
    if costs:
        assert list(costs) == list(VARIANTS)
        found = {
            name: [tuple(map(float, cell.rstrip(")").split(" ("))) for cell in cells]
            for name, cells in costs.items()
        }
        for cells in found.values():
            for (relative, seconds), (_, base) in zip(cells, found["fedavg"], strict=True):
                assert relative == pytest.approx(seconds / base, rel=0.02)
    accuracies = rows_of((ROOT / "docs" / "performance.md").read_text(), "accuracy")
    accuracies.pop("algorithm.name", None)  # the table's head
    if accuracies:
        assert list(accuracies) == list(OWN)
        stated = (
            (ROOT / "docs" / "performance.md")
            .read_text()
            .split("exactly as many epochs of both: ")[1]
            .splitlines()[0]
        )
        figures = [
            float(words.split(" ±")[0])
            for words in re.split("`fedavg` |`centralized` ", stated)[1:]
        ]
        assert len(figures) == 2 * len(POPULATIONS)
        for fedavg, centralized in zip(figures[::2], figures[1::2], strict=True):
            assert centralized - fedavg <= BAR_POINTS + 0.01
