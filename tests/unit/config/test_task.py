"""What the settings of a task refuse by themselves, before any data are read."""

from typing import Any

import pytest
from pydantic import ValidationError

from fedpipe.config.schema import Config
from fedpipe.config.task import DEFAULT_CHOOSE_BY, DEFAULT_LOSS, LOSSES, TASK_KINDS, TaskConfig
from fedpipe.config.task_metrics import METRICS, OWN_METRICS, is_higher_better


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"kind": "binary", "loss": "cross_entropy"}, "task.loss=cross_entropy is of task.kind="),
        ({"loss": "mse"}, "Choose one of cross_entropy, focal."),
        ({"loss": "mean squared"}, "expected one of cross_entropy, focal"),
        ({"kind": "regression", "metrics": ["auroc"]}, "auroc is of task.kind=classification or"),
        ({"metrics": ["f1"]}, "f1 is of task.kind=binary, found task.kind=classification"),
        ({"metrics": ["aurok"]}, "Did you mean 'auroc'?"),
        ({"kind": "binary", "metrics": ["top_1_accuracy"]}, "top_1_accuracy is of task.kind="),
        ({"choose_by": "f1_macro"}, "task.choose_by: expected loss or one of the task's metrics"),
        ({"choose_by": "acuracy"}, "Did you mean 'accuracy'?"),
        ({"metrics": ["own.one:cost", "own.two:cost"]}, "cost names two figures of a split"),
        ({"metrics": ["own.one:loss"]}, "loss names two figures"),
        ({"gamma": 1.0}, "choose task.loss=focal"),
        ({"delta": 2.0, "kind": "regression"}, "choose task.loss=huber"),
        ({"loss": "focal", "label_smoothing": 0.1}, "task.loss=focal ignores it"),
        (
            {"kind": "regression", "class_weights": [1.0, 2.0]},
            "task.loss=mse ignores it. Remove it.",
        ),
        ({"kind": "multilabel", "class_weights": "balanced"}, "Give the weight of each label"),
        ({"kind": "tokens", "class_weights": "balanced"}, "task.kind=tokens has no classes"),
        ({"options": {"share": 1}}, "has a function of your own"),
    ],
)
def test_what_cannot_be_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        TaskConfig.model_validate(values)
    assert words in str(refusal.value)


def test_a_private_run_refuses_weights_that_count_the_clients_labels() -> None:
    private = {
        "task": {"class_weights": "balanced"},
        "privacy": {
            "mechanism": "gaussian",
            "clip_norm": 1.0,
            "noise_multiplier": 1.0,
            "delta": 1e-5,
        },
        "cohort": {"strategy": "poisson"},
        "client": {"weighting": "uniform"},
    }
    with pytest.raises(ValidationError, match="counts the clients' labels"):
        Config.model_validate(private)


@pytest.mark.parametrize("kind", TASK_KINDS)
def test_each_kind_has_a_loss_and_a_metric_that_chooses(kind: Any) -> None:
    assert kind in LOSSES[DEFAULT_LOSS[kind]]
    assert DEFAULT_CHOOSE_BY[kind] in OWN_METRICS[kind]
    assert all(kind in METRICS[name] for name in OWN_METRICS[kind])
    task = TaskConfig(kind=kind, choose_by="loss")
    assert (task.choice, task.shown_metric) == ("loss", DEFAULT_CHOOSE_BY[kind])


def test_which_way_is_better_follows_from_the_name() -> None:
    lower = {"loss", "log_loss", "brier", "calibration_error", "rmse", "mae", "perplexity"}
    assert {name for name in (*METRICS, "loss") if not is_higher_better(name)} == lower
    assert is_higher_better("top_5_accuracy")
    assert is_higher_better("R2Score")
    assert not is_higher_better("BinaryCrossentropy")
