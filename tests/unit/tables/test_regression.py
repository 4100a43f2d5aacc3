"""Tables of a regression have scikit-learn's figures, and come back as they were written."""

from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from fedpipe.tables.regression import (
    predicted_csv,
    read_predicted,
    read_residuals,
    read_target_scores,
    residuals_csv,
    target_scores,
    target_scores_csv,
)


def drawn_pairs(examples: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(1)
    true = draw.normal(size=(examples, 2)) * [1, 100] + [0, 500]
    predicted = true + draw.normal(size=(examples, 2)) * [0.5, 20] + [0.1, 0]
    return predicted.astype(np.float32), true.astype(np.float32)


def test_scores_are_those_of_scikit_learn(tmp_path: Path) -> None:
    predicted, true = drawn_pairs(400)
    scores = target_scores(predicted, true, ["small", "large"])
    squared = sklearn_metrics.mean_squared_error(true, predicted, multioutput="raw_values")
    absolute = sklearn_metrics.mean_absolute_error(true, predicted, multioutput="raw_values")
    r2 = sklearn_metrics.r2_score(true, predicted, multioutput="raw_values")
    for column, score in enumerate(scores):
        assert score.rmse == pytest.approx(squared[column] ** 0.5, rel=1e-5)
        assert score.mae == pytest.approx(absolute[column], rel=1e-5)
        assert score.r2 == pytest.approx(r2[column], rel=1e-5)
        assert score.bias == pytest.approx(score.predicted_mean - score.mean, abs=1e-5)
    path = tmp_path / "targets.csv"
    path.write_text(target_scores_csv(scores))
    assert read_target_scores(path) == scores
    assert path.read_text().splitlines()[0] == (
        "target,examples,mean,std,predicted_mean,predicted_std,rmse,mae,bias,r2"
    )


def test_a_constant_target_has_no_r2(tmp_path: Path) -> None:
    (score,) = target_scores(np.array([1.0, 3.0]), np.array([2.0, 2.0]), ["y"])
    assert (score.r2, score.rmse, score.mae, score.bias) == (None, 1, 1, 0)
    path = tmp_path / "targets.csv"
    path.write_text(target_scores_csv([score]))
    assert read_target_scores(path) == [score]


def test_errors_are_counted_in_bins(tmp_path: Path) -> None:
    predicted, true = drawn_pairs(400)
    path = tmp_path / "residuals.csv"
    path.write_text(residuals_csv(predicted, true, ["small", "large"]))
    small, large = read_residuals(path)
    assert (small.target, large.target) == ("small", "large")
    assert small.counts.sum() == large.counts.sum() == 400
    errors = (predicted.astype(np.float64) - true)[:, 1]
    np.testing.assert_array_equal(large.counts, np.histogram(errors, 30)[0])
    np.testing.assert_allclose(large.edges[[0, -1]], [errors.min(), errors.max()])


def test_at_most_1000_examples_are_kept_and_the_seed_draws_them(tmp_path: Path) -> None:
    predicted, true = drawn_pairs(5000)
    path = tmp_path / "predicted.csv"
    path.write_text(predicted_csv(predicted, true, ["small", "large"], seed=7))
    small, large = read_predicted(path)
    assert len(small.true) == len(large.true) == 1000
    rows = {tuple(row) for row in np.column_stack([true, predicted]).astype(float).tolist()}
    drawn = np.column_stack([small.true, large.true, small.predicted, large.predicted])
    assert {tuple(row) for row in drawn.tolist()} <= rows
    assert predicted_csv(predicted, true, ["small", "large"], 7) == path.read_text()
    assert predicted_csv(predicted, true, ["small", "large"], 8) != path.read_text()
    names = [f"t{column}" for column in range(9)]
    many = np.zeros((3, 9))
    path.write_text(predicted_csv(many, many, names, 0))
    assert [pair.target for pair in read_predicted(path)] == names[:4]
