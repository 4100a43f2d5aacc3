"""Each trial of a sweep is a line that crosses every axis at the trial's value."""

from typing import Any

import pytest

from fedpipe.figures.parallel_coordinates import parallel_coordinates
from fedpipe.figures.svg import Chart
from fedpipe.figures.sweep_axis import sweep_axis
from fedpipe.tables.sweep import trials_csv
from fedpipe.tracking.sweeps import SweepTrial
from tests.unit.figures.parsed import elements, path_points, texts, tooltips

KEYS = ["client.learning_rate", "client.optimizer"]


def trial(value: float | None, rate: Any, optimizer: Any, state: str = "finished") -> SweepTrial:
    return SweepTrial(0, "", "", state, value, dict(zip(KEYS, (rate, optimizer), strict=True)))


TRIALS = [
    trial(0.4, 0.01, "adam"),
    trial(0.8, 1.0, "sgd"),
    trial(0.6, 0.1, "sgd"),
    trial(None, 0.1, "adam", "pruned"),
]


def heights(chart: Chart) -> list[list[float]]:
    """Return where each line crosses the axes, from 0 at the foot to 1 at the top."""
    axis = elements(chart, "axis")[0]
    top, foot = float(axis.attrib["y1"]), float(axis.attrib["y2"])
    return [
        [round((foot - y) / (foot - top), 3) for _, y in path_points(line)]
        for line in elements(chart, "curve")
    ]


def test_a_line_crosses_each_axis_at_the_childs_value() -> None:
    chart = parallel_coordinates(TRIALS, KEYS, "validation/accuracy", "maximize")
    # Rates span a factor of 100, so 0.1 is half-way; adam before sgd; 0.4 to 0.8 is the metric's axis.
    assert heights(chart) == [
        [0.5, 0.0],
        [0.0, 0.0, 0.0],
        [0.5, 1.0, 0.5],
        [1.0, 1.0, 1.0],
    ]
    assert texts(chart, "label") == [*KEYS, "validation/accuracy"]
    assert chart.description.startswith("3 of 4 trials with a value across client.learning_rate")
    assert [label for _, label in chart.legend] == [
        "the best trial",
        "other trials: the fainter, the worse",
        "without a value",
    ]
    assert tooltips(chart, "curve")[::3] == [
        "0: client.learning_rate 0.1, client.optimizer adam; pruned",
        "0: client.learning_rate 1, client.optimizer sgd; validation/accuracy 0.8",
    ]


def test_the_best_line_is_the_thick_one_on_top() -> None:
    for direction, height, faintest in (("maximize", 1.0, 0.0), ("minimize", 0.0, 1.0)):
        chart = parallel_coordinates(TRIALS, KEYS, "validation/loss", direction)
        assert heights(chart)[-1][-1] == height
        *others, best = elements(chart, "curve")
        assert best.attrib["class"] == "curve s1"
        assert all("thin" in line.attrib["class"].split() for line in others)
        opacities = {
            places[-1]: float(line.attrib["stroke-opacity"])
            for places, line in zip(heights(chart), elements(chart, "curve"), strict=True)
            if len(places) == 3
        }
        assert min(opacities, key=lambda place: opacities[place]) == faintest
        assert sorted(opacities.values()) == pytest.approx([0.25, 0.575, 1.0], abs=0.01)


def test_few_children_and_none_finished_can_be_drawn() -> None:
    few = [trial(0.5, None, None), trial(0.5, 0.1, True)]
    for trials in ([], TRIALS[:1], TRIALS[3:], few):
        chart = parallel_coordinates(trials, KEYS, "validation/accuracy", "maximize")
        assert len(elements(chart, "curve")) == len(trials)


def test_a_setting_that_does_not_apply_is_at_the_foot_of_its_axis() -> None:
    trials = [trial(0.4, 0.2, "sgd"), trial(0.8, 0.1, "momentum")]
    del trials[0].params["client.learning_rate"]
    chart = parallel_coordinates(trials, KEYS, "validation/accuracy", "maximize")
    # One number alone stands in the middle of what is left above the foot: 0.15 + 0.85 / 2. Choices: momentum before sgd.
    assert heights(chart) == [
        [0.0, 1.0, 0.0],
        [0.575, 0.0, 1.0],
    ]
    assert "-" in texts(chart, "tick")
    assert trials_csv(trials[:1], KEYS, "m").splitlines()[1] == "0,finished,0.4,-,sgd,,,"


def test_ticks_are_the_values_if_few_and_round_numbers_if_many() -> None:
    assert [words for _, words in sweep_axis([0.3, 0.1, 0.3]).ticks] == ["0.1", "0.3"]
    many = sweep_axis([n / 10 for n in range(11)])
    assert many.ticks == [
        (0.0, "0"),
        (0.2, "0.2"),
        (0.4, "0.4"),
        (0.6, "0.6"),
        (0.8, "0.8"),
        (1.0, "1"),
    ]
    rates = sweep_axis([0.01, 0.02, 0.04, 0.08, 0.16, 0.4])
    assert [words for _, words in rates.ticks] == ["0.01", "0.02", "0.05", "0.1", "0.2"]
    assert rates.place(0.2) > 0.8, "by ratio"
    assert sweep_axis([0.01, 0.2, 0.4], may_be_logarithmic=False).place(0.2) < 0.5
