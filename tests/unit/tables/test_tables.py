import csv
import io

import numpy as np

from fedpipe.tables.confusion import confusion_csv
from fedpipe.tables.rounds import rounds_csv
from tests.unit.report.reports import confusion_of


def test_a_table_of_rounds():
    rows = [
        {"round": 0, "test/loss": 2.5, "test/accuracy": 0.1},
        {
            "round": 1,
            "train/loss": 1 / 3,
            "train/accuracy": np.float32(0.5),
            "test/loss": 2.0,
            "test/accuracy": 0.25,
        },
        {"round": 2, "train/loss": 1e-9, "train/accuracy": 1},
    ]
    assert rounds_csv(rows).splitlines() == [
        "round,test_accuracy,test_loss,train_accuracy,train_loss",
        "0,0.1,2.5,,",
        "1,0.25,2.0,0.5,0.3333333333333333",
        "2,,,1.0,1e-09",
    ]


def test_numbers_come_back_as_they_were():
    value = float(np.nextafter(0.1, 1))
    row = next(csv.DictReader(io.StringIO(rounds_csv([{"round": 1, "loss": value}]))))
    assert float(row["loss"]) == value


def test_no_rounds_give_the_header_alone():
    assert rounds_csv([]) == "round\n"


def test_the_confusion_table_counts_back_to_its_matrix():
    matrix = np.random.default_rng(1).integers(0, 5, (10, 10))
    found = np.zeros((10, 10), int)
    for row in csv.DictReader(io.StringIO(confusion_csv(confusion_of(matrix), "0123456789"))):
        found[int(row["actual"]), int(row["predicted"])] += 1
    np.testing.assert_array_equal(found, matrix)
