"""An evaluation's tables come back as they were written, and its pictures show them."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from fedpipe.figures.evaluation_charts import client_values, reliability_diagram
from fedpipe.models.calibration import calibrate
from fedpipe.models.federated import ClientScores
from fedpipe.tables.evaluation import (
    labels_csv,
    read_clients,
    read_reliability,
    reliability_csv,
    write_clients,
)
from tests.unit.figures.parsed import texts, tooltips
from tests.unit.report.reports import confusion_of


def scores(ids: tuple[str, ...], accuracies: list[float]) -> ClientScores:
    values = {"accuracy": np.array(accuracies)}
    return ClientScores(ids, np.full(len(ids), 4), np.ones(len(ids)), values, {})


def test_the_table_of_clients_survives(tmp_path: Path) -> None:
    path = tmp_path / "new" / "clients.parquet"
    write_clients(
        path, scores(("a", "b"), [0.5, 1.0]), scores(("h",), [0.25]), np.array([0.75, np.nan, 0.25])
    )
    rows = pq.ParquetFile(path).read().to_pylist()
    assert [(row["client_id"], row["held_out"], row["accuracy"], row["gain"]) for row in rows] == [
        ("a", False, 0.5, 0.25),
        ("b", False, 1.0, None),
        ("h", True, 0.25, 0.0),
    ]
    groups, gains = read_clients(path).groups()
    assert {name: values.tolist() for name, values in groups.items()} == {
        "participating": [0.5, 1.0],
        "held out": [0.25],
    }
    assert gains is not None
    assert gains.tolist() == [0.25, 0.0]
    accuracy, gain = client_values("accuracy", groups, gains)
    assert "of 3 clients" in accuracy.title
    assert gain.title.endswith("better for 50%, worse for 0%")
    assert [label for _, label in accuracy.legend] == [
        "participating (2): mean 0.750, 10th percentile 0.550",
        "held out (1): mean 0.250, 10th percentile 0.250",
    ]
    assert "held out: 100.0% in 0.25 to 0.30" in tooltips(accuracy, "fill")


def test_without_held_out_clients_and_personalization_there_is_one_group(tmp_path: Path) -> None:
    write_clients(tmp_path / "c.parquet", scores(("a",), [0.5]), scores((), []), None)
    groups, gains = read_clients(tmp_path / "c.parquet").groups()
    assert (list(groups), gains) == (["participating"], None)
    assert len(client_values("accuracy", groups)) == 1


def test_the_reliability_diagram_shows_the_calibration_error(tmp_path: Path) -> None:
    calibration = calibrate(
        np.array([0.9, 0.9, 0.6, 1.0], np.float32), np.array([True, False, True, True])
    )
    path = tmp_path / "reliability.csv"
    path.write_text(reliability_csv(calibration))
    columns = read_reliability(path)
    np.testing.assert_allclose(np.array(columns).T, [list(row) for row in calibration.rows()])
    diagram, shares = reliability_diagram(*columns)
    assert diagram.title.endswith(f"calibration error {calibration.error:.3f}")
    # 0.6: one of one is right; 0.9: one of two; 1.0: one of one. Half of the predictions are at 0.9.
    assert [words.rpartition(" ")[2] for words in tooltips(diagram, "fill")] == [
        "1.000",
        "0.500",
        "1.000",
    ]
    assert [words.partition(": ")[0] for words in tooltips(diagram, "mark")] == [
        "mean confidence 0.600",
        "mean confidence 0.900",
        "mean confidence 1.000",
    ]
    assert [words.rpartition(" ")[2] for words in tooltips(shares, "fill")] == [
        "0.25",
        "0.5",
        "0.25",
    ]


def test_accuracy_of_each_label() -> None:
    table = labels_csv(confusion_of([[3, 1, 0], [0, 0, 0], [2, 0, 2]]), ["x", "y", "z"])
    assert table.splitlines() == ["label,examples,accuracy", "x,4,0.75", "y,0,", "z,4,0.5"]


@pytest.mark.parametrize("values", [[0.0], [1.0, 1.0]])
def test_all_alike_is_a_picture_too(values: list[float]) -> None:
    accuracy, gain = client_values("accuracy", {"participating": np.array(values)}, np.array([0.0]))
    assert {"0", "0.2", "0.8", "1"} <= set(texts(accuracy, "tick")), "the axis is 0 to 1"
    assert {"-0.01", "0", "0.01"} <= set(texts(gain, "tick"))
