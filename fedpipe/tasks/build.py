"""Builds the task that the settings name, sized for the data; refuses what cannot be."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedpipe.config import Config
from fedpipe.config.task import LOSSES, TaskConfig, TaskKind
from fedpipe.config.task_metrics import (
    OWN_METRICS,
    is_keras_metric,
    is_own_metric,
    metric_key,
    top_of,
)
from fedpipe.data.manifest import Manifest
from fedpipe.data.population import Population
from fedpipe.errors import ConfigError
from fedpipe.tasks import metrics, training
from fedpipe.tasks.losses import classes_of, cross_entropy, keras_loss, named_loss
from fedpipe.tasks.score import ACCURACY, score_of
from fedpipe.tasks.task import Loss, Task

MOST_RANKED_CLASSES = 1000
"""Classes of which each can be ranked against the others: their scores are kept in memory."""
_MOST_RANKED_IN_TRAINING = 100
NamedMetric = (
    metrics.Mean
    | metrics.Counted
    | metrics.CalibrationError
    | metrics.Ranking
    | metrics.Regression
    | metrics.OfAllExamples
)


def build_task(
    config: Config,
    manifest: Manifest,
    project: Path | None = None,
    label_counts: Callable[[], npt.NDArray[np.int64]] | None = None,
) -> Task:
    """Return the task of a run.

    Args:
        config: the settings under `task` are read.
        manifest: of the data; says what the labels are.
        project: folder in which a loss or metric of the user's own is looked for.
        label_counts: -> int64 [labels], training examples of participating clients by label; asked
            where `task.class_weights` is `balanced`.

    Raises:
        ConfigError: the labels are of another kind, or a loss, a weight or a metric does not fit
            them, or one of the user's own cannot be imported, raises, or returns something else.
    """
    task = config.task
    _require_kind(task, manifest)
    names = _output_names(manifest)
    loss = _build_loss(task, manifest.outputs, project, label_counts)
    plain = (
        task.kind in ("classification", "tokens")
        and task.loss_name == "cross_entropy"
        and not task.label_smoothing
        and task.class_weights is None
    )
    built = tuple(build_metric_of(task, name, names, project) for name in task.metric_names)
    if config.privacy.on:  # epsilon does not cover sums of training: no more of them than ever
        built = tuple(replace(metric, training=None) for metric in built)
    listed = {metric_key(name) for name in task.metrics}
    own = set(OWN_METRICS[task.kind]) - {"calibration_error"}
    return Task(
        kind=task.kind,
        outputs=manifest.outputs,
        output_names=names,
        loss=loss,
        is_cross_entropy=plain,
        metrics=built,
        over_clients=frozenset(own | listed | ({task.choice} - {"loss"})),
        score=score_of(task, project),
    )


def task_of(config: Config, population: Population, project: Path | None = None) -> Task:
    """Return the task of a run on a population, see `build_task`."""

    def label_counts() -> npt.NDArray[np.int64]:
        index = population.index
        return index.label_counts["train"].rows(np.flatnonzero(index.trains())).totals()

    return build_task(config, population.manifest, project, label_counts)


def plain_task(classes: int) -> Task:
    """Return the task of telling classes apart, by cross-entropy and accuracy."""
    return Task(
        kind="classification",
        outputs=classes,
        output_names=tuple(map(str, range(classes))),
        loss=cross_entropy(classes),
        is_cross_entropy=True,
        metrics=(
            metrics.Mean("accuracy", higher_is_better=True, values=metrics.hits_of),
            metrics.CalibrationError(),
        ),
        over_clients=frozenset({"accuracy"}),
        score=ACCURACY,
    )


def _require_kind(task: TaskConfig, manifest: Manifest) -> None:
    kind = manifest.targets.kind if manifest.targets else "classification"
    if kind != task.kind:
        raise ConfigError(
            f"task.kind={task.kind}: expected labels of this kind, data.source={manifest.source} "
            f"was prepared with task.kind={kind}. Set task.kind={kind}, or prepare the data again."
        )


def _output_names(manifest: Manifest) -> tuple[str, ...]:
    if manifest.targets is not None and manifest.targets.names:
        return manifest.targets.names
    if manifest.targets is None and manifest.vocabulary is not None:
        return manifest.vocabulary
    return tuple(map(str, range(manifest.outputs)))


def _build_loss(
    task: TaskConfig,
    outputs: int,
    project: Path | None,
    label_counts: Callable[[], npt.NDArray[np.int64]] | None,
) -> Loss:
    name = task.loss_name
    if name in LOSSES:
        return named_loss(task, outputs, _class_weights(task, outputs, label_counts))
    if ":" not in name:
        return keras_loss(name, task, outputs)
    from fedpipe.tasks.own import own_loss

    return own_loss(name, task, outputs, project)


def _class_weights(
    task: TaskConfig,
    outputs: int,
    label_counts: Callable[[], npt.NDArray[np.int64]] | None,
) -> Sequence[float] | None:
    """Return the weight of each class; `balanced`: n / (classes x examples of the class), so that
    all classes weigh the same and a mean example weighs 1; a class without examples weighs 1.
    """
    if task.class_weights is None:
        return None
    classes = classes_of(task, outputs)
    if task.class_weights == "balanced":
        if label_counts is None:
            return [1.0] * classes
        counts = label_counts().astype(np.float64)
        weights = counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))
        return list(np.where(counts > 0, weights, 1.0).tolist())
    if len(task.class_weights) != classes:
        raise ConfigError(
            f"task.class_weights: expected a weight of each of {classes} classes or labels, found "
            f"{len(task.class_weights)}."
        )
    return task.class_weights


def build_metric_of(
    task: TaskConfig, name: str, names: tuple[str, ...], project: Path | None = None
) -> NamedMetric:
    """Return a metric of `task.metrics` or of the kind's own.

    Args:
        task: the settings.
        name: as in the settings.
        names: of the outputs; of binary of the two classes.
        project: folder in which one of the user's own is looked for.
    """
    outputs = 1 if task.kind == "binary" else len(names)
    if is_own_metric(name):
        from fedpipe.tasks.own import own_metric

        return own_metric(name, task, outputs, project)
    if is_keras_metric(name):
        from fedpipe.tasks.own import keras_metric

        return keras_metric(name, task, outputs)
    if top_of(name) is not None or name in ("accuracy", "log_loss", "brier", "perplexity"):
        return _mean_metric(task, name, outputs)
    if name == "calibration_error":
        asked = name in task.metrics
        return metrics.CalibrationError(training.calibration_sums(task.kind) if asked else None)
    if name in ("auroc", "auprc"):
        return _ranking_metric(task, name, outputs)
    if name in ("rmse", "mae", "r2"):
        return metrics.Regression(name, _plain_names(names), training.error_sums(outputs))
    return _counted_metric(task, name, outputs)


def _mean_metric(task: TaskConfig, name: str, outputs: int) -> NamedMetric:
    kind = task.kind
    top = top_of(name)
    if top is not None:
        if top >= outputs:
            raise ConfigError(
                f"task.metrics: {name} is 1 for any model of {outputs} classes. Remove it or "
                "choose a smaller number."
            )
        in_training = training.mean_sums(
            name, lambda logits, targets: training.ranks_of(logits, targets) < top
        )
        values = metrics.within(top)
        return metrics.Mean(name, True, values, needs=frozenset({"ranks"}), training=in_training)
    if name == "accuracy":
        if kind == "multilabel":
            sums = training.mean_sums(name, training.label_hits_of)
            return metrics.Mean(
                name, True, metrics.label_hits_of, needs=metrics.OUTPUTS, training=sums
            )
        return metrics.Mean(name, True, metrics.hits_of)
    sums_of_logs = training.mean_sums(
        "log_loss", lambda logits, targets: training.log_losses_of(kind, logits, targets)
    )
    needs = _needs(kind, "log_losses")
    if name == "log_loss":
        return metrics.Mean(name, False, metrics.log_losses_of, needs=needs, training=sums_of_logs)
    if name == "perplexity":
        return metrics.Mean(
            name,
            False,
            metrics.log_losses_of,
            needs=needs,
            training=sums_of_logs,
            of_mean=lambda mean: float(np.exp(mean)),
            sums_of="log_loss",
        )
    sums = training.mean_sums(
        name, lambda logits, targets: training.briers_of(kind, logits, targets)
    )
    needs = _needs(kind, "briers")
    return metrics.Mean(name, False, metrics.briers_of, needs=needs, training=sums)


def _needs(kind: TaskKind, column: str) -> frozenset[str]:
    """Return a column of predictions of classes; labels follow from the outputs."""
    if kind in ("binary", "multilabel"):
        return metrics.OUTPUTS
    return frozenset({column})


def _ranking_metric(task: TaskConfig, name: str, outputs: int) -> NamedMetric:
    if outputs > MOST_RANKED_CLASSES:
        raise ConfigError(
            f"task.metrics: {name} ranks each class against the others: expected at most "
            f"{MOST_RANKED_CLASSES} classes, found {outputs}. Remove it."
        )
    in_training = None
    if outputs <= _MOST_RANKED_IN_TRAINING:
        in_training = training.ranking_sums(task.kind, outputs)
    return metrics.Ranking(name, task.kind, in_training)


def _counted_metric(task: TaskConfig, name: str, outputs: int) -> NamedMetric:
    classes = classes_of(task, outputs)
    sums = training.count_sums(task.kind, classes)
    if name == "balanced_accuracy":
        return metrics.Counted(name, "recall", "macro", classes, sums, only_labelled=True)
    of, _, average = name.partition("_")
    return metrics.Counted(name, of, average or "positive", classes, sums)


def _plain_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return names that a metric may have, each another one."""
    plain = [re.sub(r"[^\w.\-]+", "_", name, flags=re.ASCII)[:100] or "_" for name in names]
    if len(set(plain)) == len(plain):
        return tuple(plain)
    return tuple(f"{number}_{name}" for number, name in enumerate(plain))
