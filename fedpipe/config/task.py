"""The settings of the task: the kind of the labels, the loss, the metrics, which one chooses."""

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from fedpipe.config.base import OWN_FUNCTION, Name, PositiveFloat, Section
from fedpipe.config.task_metrics import TaskKind as TaskKind
from fedpipe.config.task_metrics import (
    is_own_metric,
    metric_key,
    metric_names,
    problem_of_metric,
)
from fedpipe.errors import did_you_mean

TASK_KINDS: tuple[TaskKind, ...] = get_args(TaskKind)

LOSSES: dict[str, tuple[TaskKind, ...]] = {
    "cross_entropy": ("classification", "tokens"),
    "focal": ("classification", "binary", "multilabel"),
    "binary_cross_entropy": ("binary", "multilabel"),
    "mse": ("regression",),
    "mae": ("regression",),
    "huber": ("regression",),
}
"""The named losses, and the kinds of task that each is of. Beside them a loss may be one of Keras'
(`CamelCase`, as in `tf.keras.losses`) or `module:function`.
"""

DEFAULT_LOSS: dict[TaskKind, str] = {
    "classification": "cross_entropy",
    "binary": "binary_cross_entropy",
    "multilabel": "binary_cross_entropy",
    "regression": "mse",
    "tokens": "cross_entropy",
}

DEFAULT_CHOOSE_BY: dict[TaskKind, str] = {
    "classification": "accuracy",
    "binary": "accuracy",
    "multilabel": "f1_macro",
    "regression": "rmse",
    "tokens": "accuracy",
}
"""The metric that chooses where `task.choose_by` is not set."""

_KERAS = re.compile(r"[A-Z][A-Za-z0-9]*")

READERS: dict[str, tuple[str, ...]] = {
    "label_smoothing": ("cross_entropy", "binary_cross_entropy"),
    "class_weights": ("cross_entropy", "binary_cross_entropy", "focal"),
    "gamma": ("focal",),
    "delta": ("huber",),
}
"""Settings that not every loss reads, with the losses that do."""


class TaskConfig(Section):
    """What is learned: the kind of the labels, the loss, and the metrics."""

    kind: TaskKind = Field(
        "classification",
        description="What the labels are. `classification`: one of several classes; `binary`: one "
        "of two, the second of them in their order is the positive one; `multilabel`: any number "
        "of "
        "several labels; `regression`: one or several numbers; `tokens`: the features themselves, "
        "each token is predicted from those before it. docs/tasks.md has each.",
    )
    loss: Name | None = Field(
        None,
        description="The loss that clients minimize: `cross_entropy`, `focal`, "
        "`binary_cross_entropy`, `mse`, `mae`, `huber`; a class of `tf.keras.losses` by its name, "
        "such as `LogCosh`; or "
        "`mypackage.module:function`. `null`: the kind's own.",
    )
    label_smoothing: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Part of each label's weight that `cross_entropy` and `binary_cross_entropy` "
        "spread evenly over all classes.",
    )
    class_weights: (
        Literal["balanced"] | Annotated[list[PositiveFloat], Field(min_length=2)] | None
    ) = Field(
        None,
        description="Weight of each class in the loss, in the order of the classes; `balanced`: "
        "inversely to the number of its training examples of participating clients; `null`: all "
        "alike.",
    )
    gamma: float = Field(
        2.0, ge=0, le=20, description="Focusing parameter of `focal` (Lin et al. 2017)."
    )
    delta: PositiveFloat = Field(
        1.0, description="Error above which `huber` is linear, in units of the target."
    )
    metrics: list[Name] = Field(
        [],
        description="Metrics beside the kind's own, such as `auroc` or `top_5_accuracy`; a class "
        "of `tf.keras.metrics` by its name; or `mypackage.module:function`.",
    )
    choose_by: Name | None = Field(
        None,
        description="Metric of the validation examples that chooses the best round, stops a "
        "training early, prunes a sweep and makes a champion. `loss` or one of the task's metrics; "
        "`null`: the kind's own.",
    )
    options: dict[str, Any] = Field(
        {},
        description="Settings of your own for `task.loss` and `task.metrics` of your own, by name.",
    )

    @field_validator("loss")
    @classmethod
    def _known_loss(cls, loss: str | None) -> str | None:
        if loss is None or loss in LOSSES or _KERAS.fullmatch(loss) or OWN_FUNCTION.fullmatch(loss):
            return loss
        raise ValueError(
            f"task.loss: expected one of {', '.join(LOSSES)}, a class of tf.keras.losses, or "
            f"mypackage.module:function, found {loss!r}"
        )

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> "TaskConfig":
        problem = self._problem_of_loss() or self._problem_of_metrics()
        if problem:
            raise ValueError(problem)
        return self

    @property
    def loss_name(self) -> str:
        """Return the loss, where none is set the kind's own."""
        return self.loss or DEFAULT_LOSS[self.kind]

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Return the names of all metrics: the kind's own, then those of `metrics`."""
        return metric_names(self.kind, self.metrics)

    @property
    def choice(self) -> str:
        """Return the metric that chooses, as it is called after the split."""
        return metric_key(self.choose_by or DEFAULT_CHOOSE_BY[self.kind])

    @property
    def shown_metric(self) -> str:
        """Return the metric that is shown beside the loss: the one that chooses, or the kind's own
        where the loss chooses.
        """
        if self.choice == "loss":
            return DEFAULT_CHOOSE_BY[self.kind]
        return self.choice

    def _problem_of_loss(self) -> str | None:
        loss = self.loss_name
        kinds = LOSSES.get(loss, (self.kind,))
        if self.kind not in kinds:
            known = [name for name in LOSSES if self.kind in LOSSES[name]]
            return (
                f"task.loss={loss} is of task.kind={' or '.join(kinds)}, found "
                f"task.kind={self.kind}. Choose one of {', '.join(known)}."
            )
        for name, readers in READERS.items():
            value = getattr(self, name)
            if loss not in readers and value != type(self).model_fields[name].default:
                fitting = [reader for reader in readers if self.kind in LOSSES[reader]]
                advice = f" or choose task.loss={' or '.join(fitting)}" if fitting else ""
                return (
                    f"task.{name}={value} is set but task.loss={loss} ignores it. Remove "
                    f"it{advice}."
                )
        if self.kind in ("multilabel", "tokens") and self.class_weights == "balanced":
            return (
                f"task.class_weights=balanced is set but task.kind={self.kind} has no classes that "
                "are counted. Give the weight of each label or token."
            )
        names = (loss, *self.metrics)
        if self.options and not any(map(is_own_metric, names)):
            return (
                f"task.options={self.options} is set but neither task.loss nor task.metrics has a "
                "function of your own. Remove it or choose mypackage.module:function."
            )
        return None

    def _problem_of_metrics(self) -> str | None:
        for name in self.metrics:
            problem = problem_of_metric(name, self.kind)
            if problem:
                return problem
        keys = [metric_key(name) for name in self.metric_names]
        double = {key for key in keys if keys.count(key) > 1 or key == "loss"}
        if double:
            return f"task.metrics: {min(double)} names two figures of a split. Rename the function."
        if self.choice not in (*keys, "loss"):
            return (
                f"task.choose_by: expected loss or one of the task's metrics, {', '.join(keys)}, "
                f"found '{self.choose_by}'. {did_you_mean(self.choice, keys)}".rstrip()
                + " Add it to task.metrics."
            )
        return None
