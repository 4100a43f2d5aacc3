"""The short form of `benchmarks.oracles`: what needs no peer's venv, beside NumPy from the papers."""

from pathlib import Path

import pytest

from benchmarks.oracles import CASES, Row, epsilon_row, gaussian_rows, numpy_rows, run_fedpipe

NAMES = ("fedavg, by examples", "scaffold", "fednova", "mimelite")


def test_weights_of_each_round_are_those_of_numpy(tmp_path: Path) -> None:
    weights, about = run_fedpipe(NAMES, tmp_path)
    rows = numpy_rows(weights, about)
    assert [row.what for row in rows] == list(NAMES)
    assert [row for row in rows if not row.agrees] == []
    # A bound that weights which barely move would keep shows nothing.
    moved = min(float(abs(history[-1][0]).max()) for history in weights.values())
    assert moved > 1e4 * max(CASES[name].tolerance for name in NAMES)


def test_an_epsilon_below_the_tightest_is_no_agreement() -> None:
    training = {
        "strategy": "fixed",
        "clients": 100,
        "cohort": 10,
        "rounds": 15,
        "noise": 4.0,
        "delta": 1e-4,
    }
    assert epsilon_row(training, "closed form", 3.6616).agrees
    assert not epsilon_row(training, "closed form", 3.70).agrees
    assert not epsilon_row(training, "closed form", 3.58).agrees
    assert [row for row in gaussian_rows() if not row.agrees] == []


@pytest.mark.parametrize(
    ("difference", "bound", "agrees"), [(1e-8, 2e-7, True), (3e-7, 2e-7, False), (9.0, None, True)]
)
def test_a_row_agrees_within_its_bound(
    difference: float, bound: float | None, agrees: bool
) -> None:
    assert Row("x", "y", difference, bound).agrees is agrees
