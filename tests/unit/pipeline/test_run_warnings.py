"""Which finished runs are doubtful, and what is said of them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fedpipe.pipeline.run_warnings import (
    feature_warnings,
    label_warnings,
    loss_warnings,
    never_predicted_warnings,
    not_a_number_warnings,
    target_warnings,
)
from fedpipe.runs.step_results import EvalRef
from fedpipe.tables.multilabel import label_scores, label_scores_csv
from fedpipe.tables.regression import target_scores, target_scores_csv

NAN, INF = float("nan"), float("inf")


def rows(*losses: float, split: str = "test") -> list[dict[str, float]]:
    return [
        {"round": float(number), f"{split}_loss": loss, f"{split}_accuracy": 0.5}
        for number, loss in enumerate(losses)
    ]


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        (
            (0.69, 0.5, 4616.0),
            "The test loss ended above where it began: 0.69 before training, 4616 after the last round.",
        ),
        ((0.69, 0.6931, 0.7), "ended above where it began: 0.69 before training, 0.7 after"),
        (
            (2.3, 4.6e8, 1.0),
            "The test loss exploded on the way: 2.3 before training, 4.6e+08 after round 1.",
        ),
        ((2.3, 2.5, 1.0), None),
        ((2.3, 1.0), None),
        ((9.2103, 9.2105), None),
        ((2.3, 2.3), None),  # one that never moves ends where it began
        ((2.3,), None),
        ((), None),
        ((2.3, NAN, 1.0), None),  # said as not a number
    ],
)
def test_a_loss_that_rises_is_said_once_with_the_setting(
    losses: tuple[float, ...], said: str | None
) -> None:
    found = list(loss_warnings(rows(*losses)))
    assert [said in warning.what for warning in found] == ([True] if said else [])
    assert all("client.learning_rate" in warning.help for warning in found)
    assert [warning.what for warning in loss_warnings(rows(*losses, split="validation"))] == [
        warning.what.replace("test", "validation") for warning in found
    ]


def evaluated(**figures: float) -> EvalRef:
    values = {key.replace("_", "/", 1): value for key, value in figures.items()}
    return EvalRef("", "", "", "", "", "", "", {}, values, None, 0.0)


def test_figures_that_are_no_numbers_are_named_with_their_round() -> None:
    table = [
        {"round": 0.0, "train_loss": 1.0},
        {"round": 1.0, "train_loss": NAN},
        {"round": 2.0, "train_loss": INF, "round_seconds": NAN},
    ]
    (warning,) = not_a_number_warnings(table, evaluated(test_loss=NAN, test_accuracy=0.5))
    assert warning.what == "Not a finite number: train/loss (first in round 1), final/test/loss."
    assert list(not_a_number_warnings(table[:1], evaluated(test_loss=1.0))) == []


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ([0.9, 250_000.0], "column 1 up to 0.9, column 2 up to 2.5e+05."),
        ([1e-6, 1.0], "column 1 up to 1e-06, column 2 up to 1."),
        ([150.0], "column 1 up to 150."),
        ([0.0, 1.0, 30.0], None),  # a column of zeros has no scale
        ([1.0, 5.0, 99.0], None),
        ([0.0], None),
    ],
)
def test_features_of_other_scales_are_named(columns: list[float], said: str | None) -> None:
    x = np.array([columns, [-value for value in columns]], np.float32)
    found = list(feature_warnings(x))
    assert [said in warning.what for warning in found] == ([True] if said else [])
    assert all("client.learning_rate" in warning.help for warning in found)


def test_column_names_are_used_where_they_are_known() -> None:
    (warning,) = feature_warnings(np.array([[1.0, 5000.0]], np.float32), ("age", "income"))
    assert "'age' up to 1, 'income' up to 5000" in warning.what


@pytest.mark.parametrize(
    "x",
    [
        np.full((2, 3), 200, np.uint8),
        np.full((2, 3), 9999, np.int32),
        np.full((2, 4, 4), 9e9, np.float32),
    ],
)
def test_pictures_and_tokens_have_no_unscaled_columns(x: np.ndarray[Any, Any]) -> None:
    assert list(feature_warnings(x)) == []


def manifest(
    classes: int,
    examples: int,
    vocabulary: tuple[str, ...] | None,
    kind: str = "classification",
) -> Any:
    return SimpleNamespace(
        num_classes=classes,
        examples={"train": examples, "test": 0},
        vocabulary=vocabulary,
        kind=kind,
    )


@pytest.mark.parametrize(
    ("classes", "examples", "vocabulary", "warned"),
    [
        (347, 442, None, True),
        (347, 442, tuple(str(-5 + number) for number in range(347)), True),
        (347, 442, tuple(f"word {number}" for number in range(347)), False),
        (347, 34_700, None, False),
        (62, 100, None, False),
    ],
)
def test_hundreds_of_whole_numbers_look_like_a_quantity(
    classes: int, examples: int, vocabulary: tuple[str, ...] | None, warned: bool
) -> None:
    found = list(label_warnings(manifest(classes, examples, vocabulary), np.zeros(3, np.int32)))
    assert len(found) == warned
    assert all(
        f"{classes} classes" in warning.what and "Set task.kind=regression" in warning.help
        for warning in found
    )
    other = manifest(classes, examples, vocabulary, "multilabel")
    assert list(label_warnings(other, np.zeros((3, 2), np.float32))) == []


def shown(tmp_path: Path, name: str, text: str, metric: str = "accuracy") -> EvalRef:
    path = tmp_path / name
    path.write_text(text)
    files = (str(tmp_path / "absent.csv"), str(path))
    return EvalRef(*[""] * 7, {}, {}, None, 0.0, kind_tables=files, metric=metric)


def test_targets_that_are_not_learned_are_named(tmp_path: Path) -> None:
    scores = target_scores(
        np.array([[1.0, 9.0, 1.0], [1.0, -9.0, 2.1]]),
        np.array([[1.0, 1.0, 1.0], [3.0, 2.0, 2.0]]),
        ["flat", "bad", "good"],
    )
    evaluation = shown(tmp_path, "targets.csv", target_scores_csv(scores))
    constant, worse = target_warnings(evaluation)
    assert constant.what.endswith("the same number for all test examples: 'flat' (1).")
    assert worse.what.startswith("The predictions for the test examples are worse than the mean")
    assert "'bad' (R2" in worse.what
    assert "good" not in worse.what
    assert "learning_rate" in worse.help
    assert list(target_warnings(EvalRef(*[""] * 7, {}, {}, None, 0.0))) == []


def test_labels_that_are_never_predicted_are_named(tmp_path: Path) -> None:
    has_label = np.array([[1, 1, 0], [0, 1, 0]])
    scores = label_scores(np.array([[-1, 1, -1], [-2, 1, -1]]), has_label, ["rare", "all", "none"])
    evaluation = shown(tmp_path, "labels.csv", label_scores_csv(scores))
    (warning,) = never_predicted_warnings(evaluation)
    assert warning.what == "1 of 3 labels are predicted of no test example: 'rare'."
    assert "task.class_weights" in warning.help


def test_the_metric_that_chooses_is_checked_to_be_a_number(tmp_path: Path) -> None:
    evaluation = shown(tmp_path, "targets.csv", "", metric="rmse")
    rounds = [{"round": 2.0, "test_rmse": INF, "test_accuracy": NAN}]
    (warning,) = not_a_number_warnings(rounds, evaluation)
    assert warning.what == "Not a finite number: test/rmse (first in round 2)."
