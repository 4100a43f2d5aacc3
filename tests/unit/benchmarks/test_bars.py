import pytest

from benchmarks.rounds import Bar, missed_bars
from benchmarks.scaling import fit


def test_a_bar_that_is_a_least_holds_from_its_fraction_on() -> None:
    bar = Bar("A", "ratio_to_tutorial", least=30)
    assert bar.holds(30, 1)
    assert not bar.holds(29.9, 1)
    assert bar.holds(15, 0.5)
    assert not bar.holds(14.9, 0.5)


def test_a_bar_that_is_a_most_holds_up_to_its_fraction() -> None:
    bar = Bar("B", "ratio_to_floor", most=1.6)
    assert bar.holds(1.6, 1)
    assert bar.holds(3.2, 0.5)
    assert not bar.holds(3.3, 0.5)


def test_missed_bars_name_what_was_found() -> None:
    results = {
        "A": {"ratio_to_tutorial": 29.0, "ratio_to_floor": 9.0},
        "C": {"ratio_to_tutorial": 3.0, "ratio_to_floor": None},
    }
    assert missed_bars(results, 1.0) == ["A: ratio_to_tutorial >= 30, found 29"]
    assert missed_bars(results, 0.5) == []


def test_fit_finds_the_line_that_made_the_seconds() -> None:
    # 10 ms a round and 1 ms a client
    line = fit({10: 0.02, 100: 0.11, 1000: 1.01})
    assert line["fixed_seconds"] == pytest.approx(0.010)
    assert line["seconds_per_client"] == pytest.approx(0.001)
    assert line["largest_relative_error"] == pytest.approx(0, abs=1e-9)
