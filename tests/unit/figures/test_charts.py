"""Charts show each value at its place; as files they are complete pictures of their own."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fedpipe.figures.charts import Curve, bars, curves
from fedpipe.figures.confusion_matrix import confusion_matrix
from fedpipe.figures.learning_curves import learning_curves
from fedpipe.figures.participation_chart import participation
from fedpipe.figures.picture_file import write_picture
from fedpipe.figures.svg import Chart
from tests.unit.figures.parsed import elements, path_points, svg_root, texts, tooltips
from tests.unit.report.reports import confusion_of

ROWS = [
    {"round": 0, "test/loss": 2.5, "test/accuracy": 0.1},
    {"round": 1, "train/loss": 2.0, "train/accuracy": 0.3},
    {
        "round": 2,
        "train/loss": 1.5,
        "train/accuracy": 0.4,
        "test/loss": 1.75,
        "test/accuracy": 0.35,
    },
]
TRAIN = "train (cohort, while training)"
TEST = "test (central set)"


def test_curves_show_each_metric_at_its_rounds() -> None:
    accuracy, loss = learning_curves(ROWS)
    assert (accuracy.title, loss.title) == ("Accuracy", "Loss")
    assert tooltips(loss, "mark") == [
        f"{TRAIN}, round 1: 2",
        f"{TRAIN}, round 2: 1.5",
        f"{TEST}, round 0: 2.5",
        f"{TEST}, round 2: 1.75",
    ]
    assert tooltips(accuracy, "mark") == [
        f"{TRAIN}, round 1: 0.3",
        f"{TRAIN}, round 2: 0.4",
        f"{TEST}, round 0: 0.1",
        f"{TEST}, round 2: 0.35",
    ]
    assert loss.legend == (("s0", TRAIN), ("s1", TEST))
    assert loss.description == f"Loss, by round: {TRAIN} from 2 to 1.5; {TEST} from 2.5 to 1.75"


def test_a_curve_runs_from_left_to_right_and_higher_values_are_higher() -> None:
    chart = curves("Loss", [Curve("a", [(0, 1.0), (1, 3.0), (2, 2.0)])], "nats")
    assert chart is not None
    (line,) = elements(chart, "curve")
    (x0, y0), (x1, y1), (x2, y2) = path_points(line)
    assert x1 - x0 == pytest.approx(x2 - x1)
    assert y1 < y2 < y0  # pixels count from the top
    assert y0 - y1 == pytest.approx(2 * (y0 - y2), abs=0.02)


def test_values_that_are_not_finite_are_left_out_and_many_points_are_thinned() -> None:
    points = [(0, float("nan")), *((n, 1.0) for n in range(1, 5001)), (5001, float("inf"))]
    chart = curves("Loss", [Curve("a", points)], "nats")
    assert chart is not None
    (line,) = elements(chart, "curve")
    drawn = path_points(line)
    assert 500 < len(drawn) <= 1000
    assert drawn[-1][0] > drawn[0][0] + 480, "the first and the last stay"
    assert curves("Loss", [Curve("a", [(0, float("nan"))])], "nats") is None


def test_a_bar_has_its_place_and_its_height() -> None:
    chart = bars("Sizes", [0, 10], [10, 20], [1, 2], "examples", "clients")
    low, high = elements(chart, "fill")
    assert float(high.attrib["height"]) == pytest.approx(2 * float(low.attrib["height"]), abs=0.05)
    assert float(high.attrib["x"]) > float(low.attrib["x"])
    assert tooltips(chart, "fill") == ["0 to 10: 1", "10 to 20: 2"]


def test_the_matrix_shows_counts_and_fractions_of_the_row() -> None:
    chart = confusion_matrix(confusion_of([[3, 1], [0, 0]]), ["a", "b"])
    right, wrong = elements(chart, "heat")
    assert [cell.attrib["fill-opacity"] for cell in (right, wrong)] == ["0.75", "0.25"]
    assert right.attrib["y"] == wrong.attrib["y"], "a row is an actual class"
    assert float(right.attrib["x"]) < float(wrong.attrib["x"]), "a column is a predicted class"
    assert tooltips(chart, "heat") == ["a right: 3", "a taken for b: 1"]
    assert texts(chart, "count") == ["3", "1"]
    assert "3 of 4 predictions are right" in chart.description
    assert texts(chart, "label") == ["predicted", "actual"]


def test_many_classes_have_cells_at_the_same_places() -> None:
    matrix = np.zeros((21, 21), int)
    matrix[2, 5] = 4
    (cells,) = elements(confusion_matrix(confusion_of(matrix), [str(n) for n in range(21)]), "heat")
    assert cells.attrib["d"] == "M5 2h1v1h-1z"


def test_participation_shows_who_reported_and_who_did_not() -> None:
    chart = participation("Rounds", {"a": (1, 2, 4), "b": ()}, {"a": [], "b": [3]}, 4)
    reported, missed = elements(chart, "solid")
    assert reported.attrib["d"] == "M30 4h255v12.6H30zM412.5 4h127.5v12.6H412.5z"
    assert missed.attrib["d"] == "M285 18h127.5v12.6H285z"
    assert [label for _, label in chart.legend] == ["reported", "asked, did not report"]
    everyone = participation("Rounds", {"a": (1,)}, {"a": []}, 1)
    assert [label for _, label in everyone.legend] == ["reported"]


@pytest.mark.parametrize(
    "charts",
    [
        learning_curves([]),
        learning_curves(ROWS),
        [confusion_matrix(confusion_of(np.eye(10, dtype=int)), "abcdefghij")],
    ],
)
def test_pictures_can_be_written(charts: list[Chart], tmp_path: Path) -> None:
    path = tmp_path / "new" / "picture.svg"
    write_picture(charts, path)
    first = path.read_bytes()
    root = svg_root(first)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.attrib["role"] == "img"
    assert len(root.attrib["aria-label"]) > 10
    assert b".s0 { color: #2a6fb0; }" in first, "the colours are in the file"
    assert b"var(" not in first
    assert b"http" not in first.replace(b"http://www.w3.org/2000/svg", b""), "and nothing is loaded"
    words = "".join(root.itertext())
    for chart in charts:
        assert chart.title in words
        assert all(label in words for _, label in chart.legend)
    write_picture(charts, path)
    assert path.read_bytes() == first, "the same charts give the same bytes"


def test_charts_stand_side_by_side(tmp_path: Path) -> None:
    charts = learning_curves(ROWS)
    write_picture(charts, tmp_path / "picture.svg")
    root = svg_root((tmp_path / "picture.svg").read_bytes())
    drawings = [found for found in root if found.tag.endswith("svg")]
    places = [float(drawing.attrib["x"]) for drawing in drawings]
    assert places[1] >= places[0] + charts[0].width
    assert float(root.attrib["width"]) >= places[1] + charts[1].width
    assert float(root.attrib["height"]) >= 30 + max(chart.height for chart in charts)


def test_no_library_of_plots_is_loaded(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; "
        "from fedpipe.figures.learning_curves import learning_curves; "
        "from fedpipe.figures.picture_file import write_picture; "
        "rows = [{'round': 1.0, 'test/loss': 1.0}]; "
        "write_picture(learning_curves(rows), Path(sys.argv[1])); "
        "assert not {'matplotlib', 'mlflow', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "picture.svg")], check=True, timeout=120
    )
