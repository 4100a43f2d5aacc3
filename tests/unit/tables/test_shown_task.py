"""Which metrics a run is shown by, from its settings or from its MLflow params."""

from pathlib import Path

import pytest

from fedpipe.config.task import TaskConfig
from fedpipe.tables.rounds import rounds_csv, score_csv
from fedpipe.tables.shown_task import CLASSIFICATION, ShownTask


def test_a_run_of_an_earlier_version_is_a_classification() -> None:
    assert ShownTask.of_params({"rounds": "3"}) == CLASSIFICATION
    assert ShownTask.of(TaskConfig()) == CLASSIFICATION
    assert CLASSIFICATION.main_metrics == ("accuracy", "loss")
    assert CLASSIFICATION.unit("loss") == "cross-entropy (nats)"


@pytest.mark.parametrize(
    ("settings", "params"),
    [
        ({"kind": "regression"}, {"task.kind": "regression", "task.choose_by": "None"}),
        (
            {"kind": "binary", "choose_by": "auroc", "loss": "focal"},
            {"task.kind": "binary", "task.choose_by": "auroc", "task.loss": "focal"},
        ),
        (
            {"metrics": ["a.b:cost"], "choose_by": "cost"},
            {"task.kind": "classification", "task.choose_by": "cost"},
        ),
    ],
)
def test_params_say_the_same_as_the_settings(
    settings: dict[str, object], params: dict[str, str]
) -> None:
    assert ShownTask.of_params(params) == ShownTask.of(TaskConfig.model_validate(settings))


def test_curves_are_of_the_metric_that_chooses_first() -> None:
    keys = ["test/accuracy", "test/loss", "test/calibration_error", "train/steps"]
    assert CLASSIFICATION.drawn_metrics(keys) == ["accuracy", "loss"]
    regression = ShownTask("regression", "rmse", "mse")
    keys = ["test/r2", "test/rmse", "test/rmse_price", "test/mae", "test/mae_price", "test/loss"]
    assert regression.drawn_metrics(keys) == ["rmse", "loss", "mae", "r2"]
    assert regression.unit("loss") == "squared error"
    by_loss = ShownTask("binary", "loss", "focal")
    assert by_loss.drawn_metrics(["test/f1", "test/f1_macro"]) == ["loss", "f1", "f1_macro"]
    assert by_loss.unit("loss") == "loss"


def test_the_table_of_the_score_has_the_same_columns_for_any_metric(tmp_path: Path) -> None:
    path = tmp_path / "rounds.csv"
    rows = [{"round": 0, "test/rmse": 2.5}, {"round": 1, "test/rmse": 2.0, "train/rmse": 3.0}]
    path.write_text(rounds_csv(rows))
    assert score_csv(path, "rmse") == "round,train,validation,test\n0,,,2.5\n1,3.0,,2.0\n"
    assert score_csv(path, "absent") == "round,train,validation,test\n0,,,\n1,,,\n"
