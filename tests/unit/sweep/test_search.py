"""The search: what is drawn, that a kill changes nothing of it, and who is ended early."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from fedpipe.config.sweep import SweepConfig
from fedpipe.sweep.search import Search

RATE = {"min": 0.01, "max": 1.0, "log": True}


def sweep(search: str = "random", **values: Any) -> SweepConfig:
    space = {"client.learning_rate": RATE, "client.epochs": {"min": 1, "max": 3}}
    return SweepConfig.model_validate(
        {"name": "s", "search": search, "trials": 6, "space": space} | values
    )


def drawn(search: Search, count: int) -> list[dict[str, Any]]:
    points = []
    for _ in range(count):
        number = search.draw()
        assert number is not None
        points.append(search.point(number))
        search.finish(number, 1.0 / (1 + number))
    return points


@pytest.mark.parametrize("kind", ["random", "tpe"])
def test_a_search_that_is_opened_again_draws_what_it_would_have_drawn(
    tmp_path: Path, kind: str
) -> None:
    settings = sweep(kind, trials=14)  # more than TPE's ten draws at random
    whole = drawn(Search(settings, tmp_path / "whole"), 14)
    parts = drawn(Search(settings, tmp_path / "parts"), 5)
    with (tmp_path / "parts").open("a") as file:
        file.write('{"op_code": 5, "wor')  # a kill in the middle of a line
    parts += drawn(Search(settings, tmp_path / "parts"), 9)
    assert parts == whole
    assert all(
        0.01 <= point["client.learning_rate"] <= 1.0 and point["client.epochs"] in (1, 2, 3)
        for point in whole
    )
    assert len({str(point) for point in whole}) == 14
    assert Search(settings, tmp_path / "parts").draw() is None
    other = drawn(Search(sweep(kind, trials=14, seed=2), tmp_path / "other"), 3)
    assert not [point for point in other if point in whole]


def test_a_grid_has_each_combination_once_whatever_is_interrupted(tmp_path: Path) -> None:
    space = {
        "client.learning_rate": RATE | {"points": 3},
        "client.epochs": {"choices": [1, 5]},
        "client.momentum": {"choices": [None]},
    }
    settings = sweep("grid", trials=None, space=space)
    points = []
    for _ in range(6):
        search = Search(settings, tmp_path / "journal")
        number = search.draw()
        assert number is not None
        assert Search(settings, tmp_path / "journal").open() == [number]
        points.append(search.point(number))
        search.finish(number, 0.5)
    assert Search(settings, tmp_path / "journal").draw() is None
    found = sorted(
        (point["client.learning_rate"], point["client.epochs"], point["client.momentum"])
        for point in points
    )
    assert found == list(product([0.01, 0.1, 1.0], [1, 5], [None]))


OPTIMIZERS = {"client.optimizer": {"choices": ["sgd", "momentum"]}}
MOMENTUM = {
    "client.momentum": {
        "min": 0.5,
        "max": 0.95,
        "points": None,
        "when": {"client.optimizer": "momentum"},
    }
}


@pytest.mark.parametrize("kind", ["random", "tpe"])
def test_a_conditional_setting_is_drawn_where_it_applies(tmp_path: Path, kind: str) -> None:
    settings = sweep(kind, trials=14, space={**MOMENTUM, **OPTIMIZERS})
    whole = drawn(Search(settings, tmp_path / "whole"), 14)
    assert {point["client.optimizer"] for point in whole} == {"sgd", "momentum"}
    for point in whole:
        assert ("client.momentum" in point) == (point["client.optimizer"] == "momentum")
    parts = drawn(Search(settings, tmp_path / "parts"), 5)
    assert parts + drawn(Search(settings, tmp_path / "parts"), 9) == whole


def test_a_child_whose_draw_was_cut_short_is_drawn_anew(tmp_path: Path) -> None:
    settings = sweep("random", trials=3, space={**MOMENTUM, **OPTIMIZERS})
    whole = drawn(Search(settings, tmp_path / "whole"), 3)
    first = next(
        index for index, point in enumerate(whole) if point["client.optimizer"] == "momentum"
    )
    drawn(Search(settings, tmp_path / "cut"), first)
    Search(settings, tmp_path / "cut").draw()
    lines = (tmp_path / "cut").read_text().splitlines(keepends=True)
    assert "client.momentum" in lines[-1]
    (tmp_path / "cut").write_text(
        "".join(lines[:-1])
    )  # killed after the optimizer, before the momentum
    again = Search(settings, tmp_path / "cut")
    assert again.open() == []
    assert len(again.numbers()) == first
    assert again.draw() is not None


def test_a_grid_is_drawn_in_its_order(tmp_path: Path) -> None:
    momentum = {
        "client.momentum": {"choices": [0.5, 0.9], "when": {"client.optimizer": "momentum"}}
    }
    points = drawn(
        Search(sweep("grid", trials=None, space={**OPTIMIZERS, **momentum}), tmp_path / "journal"),
        3,
    )
    assert points == [
        {"client.optimizer": "sgd"},
        {"client.optimizer": "momentum", "client.momentum": 0.5},
        {"client.optimizer": "momentum", "client.momentum": 0.9},
    ]


def test_a_child_below_the_median_of_the_finished_ones_is_ended(tmp_path: Path) -> None:
    search = Search(sweep(pruning={"after_children": 3, "after_rounds": 2}), tmp_path / "journal")
    for value in (0.2, 0.4, 0.6):
        number = search.draw()
        assert number is not None
        for round_num in range(4):
            assert search.report(number, round_num, value) is None  # too few have finished
        search.finish(number, value)
    number = search.draw()
    assert number is not None
    assert [search.report(number, round_num, 0.3) for round_num in range(2)] == [None, None]
    why = search.report(number, 2, 0.3)  # the median there is 0.4
    assert (
        why
        == "round 2: validation/accuracy 0.3000 is worse than the median of the finished trials there"
    )
    assert (
        search.report(number, 2, 0.3) is None
    )  # a round that is known already, of a trial that goes on
    search.prune(number, why)
    assert (search.state(number), search.value(number), search.reason(number)) == (
        "pruned",
        None,
        why,
    )


def test_the_best_is_by_the_metric_and_the_first_of_equals(tmp_path: Path) -> None:
    values = [0.5, 0.2, float("nan"), 0.2]
    for metric, best in (("validation/accuracy", 0), ("validation/loss", 1)):
        search = Search(sweep(metric=metric), tmp_path / metric.replace("/", "_"))
        assert search.best() is None
        for value in values:
            number = search.draw()
            assert number is not None
            search.finish(number, value)
        assert search.best() == best
        assert [search.state(number) for number in search.numbers()] == [
            "finished",
            "finished",
            "failed",
            "finished",
        ]
        assert search.reason(2) == f"{metric} is nan"
