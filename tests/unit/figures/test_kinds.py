"""Charts of binary, multilabel and regression tasks show their tables' figures."""

import re

import numpy as np
import pytest

from fedpipe.config.task import TaskKind
from fedpipe.figures.evaluation_charts import reliability_diagram
from fedpipe.figures.kind_charts import KIND_PICTURES, kind_charts
from fedpipe.figures.population_charts import label_skew, target_ranges
from fedpipe.figures.ranking_charts import label_bars, precision_recall_chart, roc_chart
from fedpipe.figures.regression_charts import predicted_against_true, residual_charts
from fedpipe.tables.kinds import KindTables
from fedpipe.tables.multilabel import LabelScore
from fedpipe.tables.population import PopulationTable, TargetRanges
from fedpipe.tables.ranking import RankingCurve
from fedpipe.tables.regression import TargetErrors, TargetPairs
from tests.unit.figures.parsed import elements, path_points, texts, tooltips

CORNERS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]])


def score(label: str, f1: float | None) -> LabelScore:
    return LabelScore(label, 10, 10, f1, f1, f1, f1, f1)


def test_ranking_curves_name_their_area() -> None:
    curves = [RankingCurve("sick", 1.0, CORNERS), RankingCurve("<b>", 0.5, CORNERS[[0, 2]])]
    chart = roc_chart(curves)
    assert [label for _, label in chart.legend] == ["sick: area 1.000", "<b>: area 0.500"]
    assert tooltips(chart, "curve") == ["sick: area 1.000", "<b>: area 0.500"]
    left, _, right = path_points(elements(chart, "curve")[0])
    assert (left[0] < right[0], left[1] > right[1]) == (True, True)
    assert tooltips(chart, "mean") == ["guessing"]
    precision = precision_recall_chart(curves[:1])
    assert [label for _, label in precision.legend] == ["sick: average precision 1.000"]
    assert texts(precision, "label") == ["recall", "precision"]
    assert "no curve" in roc_chart([]).description


def test_bars_of_labels_are_as_long_as_their_figures() -> None:
    chart = label_bars([score("a", 0.5), score("b", 1.0), score("c", None)])
    assert tooltips(chart, "fill") == [
        *("a: precision 0.500", "a: recall 0.500", "a: F1 0.500"),
        *("b: precision 1.000", "b: recall 1.000", "b: F1 1.000"),
    ]
    widths = [float(bar.attrib["width"]) for bar in elements(chart, "fill")]
    assert widths[3] == 2 * widths[0]
    assert "mean F1 0.750" in chart.description


def test_of_many_labels_the_worst_are_drawn() -> None:
    scores = [score(f"l{number}", number / 30) for number in range(30)]
    chart = label_bars([*scores, score("never", None)])
    assert "the 20 of 31 labels with the lowest F1" in chart.title
    assert {words.partition(":")[0] for words in tooltips(chart, "fill")} == {
        f"l{number}" for number in range(1, 20)
    }


def test_charts_of_a_regression_have_a_dot_for_each_example() -> None:
    true = np.array([1.0, 2.0, 3.0])
    pairs = [TargetPairs("price", true, true + np.array([0.5, 0, np.nan]))]
    (chart,) = predicted_against_true(pairs)
    (dots,) = elements(chart, "solid")
    (high, low) = path_points(dots)
    assert high[0] < low[0]
    assert chart.legend[0] == ("s0", "2 examples")
    assert tooltips(chart, "mean") == ["predicted as it is"]
    errors = [TargetErrors("price", np.array([-1.0, 0.0, 1.0]), np.array([2, 1]))]
    histogram, by_prediction = residual_charts(errors, pairs)
    assert tooltips(histogram, "fill") == ["-1 to 0: 2", "0 to 1: 1"]
    assert len(path_points(elements(by_prediction, "solid")[0])) == 2
    assert predicted_against_true([TargetPairs("y", true * np.nan, true)]) == []
    assert len(residual_charts(errors, [])) == 1


def test_the_reliability_of_two_classes_names_the_positive_one() -> None:
    columns = [np.array([value]) for value in (0.0, 1 / 15, 4.0, 0.05, 0.25)]
    diagram, shares = reliability_diagram(*columns, positive="malignant")
    assert texts(diagram, "label") == ["predicted probability of malignant", "fraction"]
    assert tooltips(diagram, "fill") == ["probability 0.00 to 0.07: fraction 0.250"]
    assert shares.title == "Predictions by probability"


def test_ranges_of_a_target_have_a_bar_for_each_client() -> None:
    quantiles = np.array([[0.0, 1, 2, 3, 4], [2, 2, 2, 2, 2]])
    ranges = (TargetRanges("price", quantiles),)
    counts = np.array([[1, 0], [0, 1]])
    groups = "tenths of price"
    table = PopulationTable({}, ("low", "high"), 2, 5, counts, groups, ranges)
    (chart,) = target_ranges(table)
    assert chart.title == "price at 2 of 5 clients"
    whole, middle, median = elements(chart, "solid")
    assert [path.attrib["d"].count("M") for path in (whole, middle, median)] == [2, 2, 2]

    spans = re.findall(r"h([\d.]+)v", whole.attrib["d"]) + re.findall(
        r"h([\d.]+)v", middle.attrib["d"]
    )
    first, point, half, _ = map(float, spans)
    assert (first, point) == (pytest.approx(2 * half, abs=0.02), 1.5)
    assert "from 0 to 4" in chart.description
    assert texts(label_skew(table), "label") == ["tenths of price", "client"]
    assert label_skew(table).title == "Share of tenths of price at 2 of 5 clients"


@pytest.mark.parametrize("kind", KIND_PICTURES)
def test_pictures_of_empty_tables_have_no_charts(kind: TaskKind) -> None:
    assert [kind_charts(name, KindTables(), ()) for name in KIND_PICTURES[kind]] == [
        [] for _ in KIND_PICTURES[kind]
    ]
