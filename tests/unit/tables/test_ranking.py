"""Curves of a ranking have scikit-learn's areas and points, also with ties."""

from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from fedpipe.tables.multilabel import label_scores, label_scores_csv, read_label_scores
from fedpipe.tables.ranking import (
    can_rank,
    most_frequent,
    precision_recall_csv,
    precision_recall_curve,
    read_ranking_curves,
    roc_csv,
    roc_curve,
)


def drawn_scores(examples: int, digits: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(3)
    is_positive = draw.random(examples) < 0.3
    return (draw.normal(size=examples) + is_positive).round(digits), is_positive


@pytest.mark.parametrize(("examples", "digits"), [(40, 8), (50, 1), (20_000, 8), (20_000, 1)])
def test_areas_and_points_are_those_of_scikit_learn(examples: int, digits: int) -> None:
    scores, is_positive = drawn_scores(examples, digits)
    roc = roc_curve("a", scores, is_positive)
    precision_recall = precision_recall_curve("a", scores, is_positive)
    area = sklearn_metrics.roc_auc_score(is_positive, scores)
    assert roc.area == pytest.approx(area, abs=1e-12)
    average = sklearn_metrics.average_precision_score(is_positive, scores)
    assert precision_recall.area == pytest.approx(average, abs=1e-12)
    every_point = np.column_stack(
        sklearn_metrics.roc_curve(is_positive, scores, drop_intermediate=False)[:2]
    )
    kept = {tuple(point) for point in every_point.round(12).tolist()}
    assert {tuple(point) for point in roc.points.round(12).tolist()} <= kept
    assert roc.points[[0, -1]].tolist() == [[0, 0], [1, 1]]
    assert precision_recall.points[-1, 0] == 1
    assert len(roc.points) <= 202
    # The thinned curve is no more than a step away from the whole one.
    thinned = np.interp(every_point[:, 0], *roc.points.T)
    assert np.abs(thinned - every_point[:, 1]).max() < 0.03 + 1.0 * (examples < 100)


def test_the_tables_of_curves_come_back(tmp_path: Path) -> None:
    scores, is_positive = drawn_scores(500, 8)
    curves = [roc_curve("a,b", scores, is_positive), roc_curve("c", -scores, is_positive)]
    path = tmp_path / "roc.csv"
    path.write_text(roc_csv(curves))
    assert path.read_text().startswith(
        'label,false_positive_rate,true_positive_rate,area\n"a,b",0.0,0.0,'
    )
    first, second = read_ranking_curves(path)
    assert (first.label, second.label) == ("a,b", "c")
    assert first.area == curves[0].area
    assert second.area == pytest.approx(1 - first.area)
    np.testing.assert_allclose(first.points, curves[0].points, atol=1e-6)
    path.write_text(precision_recall_csv([precision_recall_curve("a", scores, is_positive)]))
    assert read_ranking_curves(path)[0].label == "a"
    path.write_text("x\n1\n")
    with pytest.raises(ValueError, match="columns label"):
        read_ranking_curves(path)


def test_labels_without_both_kinds_of_examples_have_no_curve() -> None:
    assert not can_rank(np.array([1, 1]))
    assert not can_rank(np.array([0]))
    has_label = np.array([[1, 0, 1], [1, 1, 0], [1, 0, 1]])
    assert most_frequent(has_label) == [1, 2]


def test_scores_of_labels_are_those_of_scikit_learn(tmp_path: Path) -> None:
    draw = np.random.default_rng(5)
    has_label = (draw.random((300, 3)) < [0.5, 0.1, 0.0]).astype(np.float32)
    logits = (draw.normal(size=(300, 3)) + has_label - 0.5).astype(np.float32)
    logits[:, 2] = -1
    scores = label_scores(logits, has_label, ["a", "b", "never"])
    precision, recall, f1, _ = sklearn_metrics.precision_recall_fscore_support(
        has_label, logits >= 0, zero_division=0
    )
    for column, score in enumerate(scores[:2]):
        assert score.examples == has_label[:, column].sum()
        assert score.precision == pytest.approx(precision[column])
        assert score.recall == pytest.approx(recall[column])
        assert score.f1 == pytest.approx(f1[column])
        area = sklearn_metrics.roc_auc_score(has_label[:, column], logits[:, column])
        assert score.auroc == pytest.approx(area)
    never = scores[2]
    assert (never.examples, never.predicted) == (0, 0)
    assert {never.precision, never.recall, never.f1, never.auroc} == {None}
    path = tmp_path / "labels.csv"
    path.write_text(label_scores_csv(scores))
    assert read_label_scores(path) == scores
