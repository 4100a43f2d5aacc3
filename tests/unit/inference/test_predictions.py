"""What is predicted of an example follows the kind of the task, in JSON, CSV and plain text."""

import csv
import io
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedpipe.inference.input_reader import InputBatch
from fedpipe.inference.predictions import Example, predictions_csv, predictions_of
from fedpipe.models.input_facts import InputFacts


def predictions(values: Any, facts: InputFacts, x: Any = None) -> list[Example]:
    rows = np.array(values, np.float32)
    features = np.zeros((len(rows), 2), np.float32) if x is None else np.array(x, np.int32)
    return predictions_of(rows, InputBatch(Path("t.csv"), 5, features), facts)


def table(shown: list[Example]) -> list[list[str]]:
    return list(csv.reader(io.StringIO(predictions_csv(shown))))


def test_a_classification_has_its_most_probable_class() -> None:
    shown = predictions([[0.25, 0.75], [0.5, 0.5]], InputFacts(labels=("cat", "dog")))
    assert asdict(shown[0]) == {
        "file": "t.csv",
        "row": 5,
        "label": "dog",
        "number": 1,
        "probability": 0.75,
        "probabilities": [0.25, 0.75],
    }
    assert table(shown) == [
        ["file", "row", "label", "probability"],
        ["t.csv", "5", "dog", "0.75"],
        ["t.csv", "6", "cat", "0.5"],
    ]


def test_a_binary_prediction_is_positive_from_one_half_on() -> None:
    facts = InputFacts(labels=("benign", "malignant"), kind="binary")
    shown = predictions([[0.25], [0.5]], facts)
    assert asdict(shown[0]) == {
        "file": "t.csv",
        "row": 5,
        "label": "benign",
        "number": 0,
        "positive": "malignant",
        "probability": 0.25,
    }
    assert table(shown) == [
        ["file", "row", "label", "probability of malignant"],
        ["t.csv", "5", "benign", "0.25"],
        ["t.csv", "6", "malignant", "0.5"],
    ]


def test_a_multilabel_prediction_has_a_probability_for_each_label() -> None:
    facts = InputFacts(labels=("red", "round"), kind="multilabel")
    shown = predictions([[0.5, 0.75], [0.25, 0.125]], facts)
    assert asdict(shown[0])["labels"] == ["red", "round"]
    assert asdict(shown[0])["probabilities"] == {"red": 0.5, "round": 0.75}
    assert [example.text for example in shown] == ["red;round", ""]
    assert table(shown) == [
        ["file", "row", "labels", "red", "round"],
        ["t.csv", "5", "red;round", "0.5", "0.75"],
        ["t.csv", "6", "", "0.25", "0.125"],
    ]


def test_a_regression_has_a_number_for_each_target() -> None:
    shown = predictions([[1.5, -200.0]], InputFacts(labels=("price", "area"), kind="regression"))
    assert asdict(shown[0])["values"] == {"price": 1.5, "area": -200.0}
    assert shown[0].text == "1.5,-200"
    assert table(shown) == [["file", "row", "price", "area"], ["t.csv", "5", "1.5", "-200.0"]]


def test_tokens_are_predicted_after_the_last_one() -> None:
    after = [[[1, 0, 0], [0, 0.25, 0.75], [0, 1, 0]]]
    (shown,) = predictions(after, InputFacts(kind="tokens"), x=[[4, 2, 0]])
    assert (asdict(shown)["label"], asdict(shown)["probability"]) == ("2", 0.75)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_of_no_examples_there_is_a_table_without_lines(kind: Any) -> None:
    assert predictions_csv([]) == "file,row\n"
    assert predictions(np.zeros((0, 2)), InputFacts(kind=kind)) == []
