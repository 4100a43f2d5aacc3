"""Registers a run's model, and makes it champion if it is better than the champion so far
(`registry.promotion` has the rule).
"""

import json
import logging
import math
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedpipe.config import Config
from fedpipe.errors import ModelError, TrackingError
from fedpipe.lineage.forgotten_versions import forgotten_of
from fedpipe.lineage.privacy_total import total_with_run
from fedpipe.project.paths import Project
from fedpipe.registry.promotion import Holder, decide
from fedpipe.runs.lineage import LINEAGE
from fedpipe.runs.step_results import RegisteredRef
from fedpipe.system.locks import file_lock
from fedpipe.tasks.score import score_of
from fedpipe.tracking.model_registry import (
    CHAMPION,
    champion_of,
    move_alias,
    register_version,
    tag_version,
)
from fedpipe.tracking.tags import (
    DECISION,
    FORGOTTEN_CLIENTS,
    FORGOTTEN_REASON,
    NOT_REGISTERED,
    REPLACED_BY,
    VERSION_METRIC_PREFIX,
    VERSION_MODEL_ID,
)

if TYPE_CHECKING:
    from fedpipe.data.population import Population
    from fedpipe.models import ModelSpec
    from fedpipe.tracking.lookup import ModelVersion
    from fedpipe.tracking.run import TrackedRun
    from fedpipe.tracking.store import Store

logger = logging.getLogger(__name__)


def register(
    run: "TrackedRun",
    model_id: str,
    metrics: Mapping[str, float],
    *,
    config: Config,
    population: "Population",
    model: "ModelSpec",
    run_dir: Path,
    project: Project,
) -> RegisteredRef | None:
    """Make the run's logged model a version of `tracking.model_name`, with lineage and metrics as
    tags, and give it its alias.

    A run that is completed again has its version already, and the champion stays. A private model
    that exceeds the budget `privacy.total_epsilon` is not registered: None is returned, and the run
    has the tag `fedpipe.not_registered`.

    Args:
        run: the run; has all its tags.
        model_id: its logged model.
        metrics: of the model, by `split/metric`.
        config: the run's settings.
        population: the clients of the run; their validation examples compare the champion with the
            new model.
        model: the architecture of the new model.
        run_dir: folder of the run's files.
        project: has the list of the forgotten.

    Raises:
        TrackingError: the store cannot be read or written.
    """
    budget = config.privacy.total_epsilon
    if budget is not None and not _within_budget(budget, run):
        return None
    name = config.tracking.model_name
    min_improvement = config.tracking.min_improvement
    by = score_of(config.task, project.root)
    score = metrics.get(by.validation, math.nan)
    tags = {VERSION_METRIC_PREFIX + key: repr(value) for key, value in metrics.items()}
    tags[VERSION_MODEL_ID] = model_id
    project.private.mkdir(parents=True, exist_ok=True)
    # Two runs of this project that end together are compared one after the other.
    with file_lock(project.private / "registry.lock"):
        champion = champion_of(run.store, name)
        forgotten = _forgotten_since(project, run_dir)
        if forgotten:
            tags[FORGOTTEN_CLIENTS] = json.dumps(forgotten)
            tags[FORGOTTEN_REASON] = "forgotten while it trained"
        version = register_version(run.store, name, model_id, run.run_id, tags)
        holder = None
        if champion is not None and champion.version == version.version:
            alias = CHAMPION
            reason = "it is champion already"
        else:
            if champion is not None:
                holder = _holder(config, population, model, run.store, champion, project)
            alias, reason = decide(score, tuple(forgotten), holder, min_improvement, by)
        move_alias(run.store, alias, version)
        tag_version(run.store, version, {DECISION: f"{alias}: {reason}"})
        if champion is not None and alias == CHAMPION and champion.version != version.version:
            tag_version(run.store, champion, {REPLACED_BY: f"{name}/{version.version}"})
    return RegisteredRef(
        name=name,
        version=version.version,
        alias=alias,
        champion_before=champion.version if champion else None,
        validation_accuracy=None if math.isnan(score) else score,
        champion_accuracy=holder.score if holder else None,
        min_improvement=min_improvement,
        reason=reason,
        metric=by.validation,
    )


def _within_budget(budget: float, run: "TrackedRun") -> bool:
    """Return whether the run's model may be registered; a run that finished while this one trained
    may have used up the budget.
    """
    with run.store.guard("read what the run released"):
        recorded = run.store.client.get_run(run.run_id)
    total = total_with_run(run.store, recorded)
    if total.epsilon is not None and total.epsilon <= budget:
        return True
    reason = f"privacy.total_epsilon={budget}: {total.sentence()}, more than the budget"
    run.set_tags({NOT_REGISTERED: reason})
    logger.warning("the model is not registered: %s.", reason)
    return False


def _holder(
    config: Config,
    population: "Population",
    model: "ModelSpec",
    store: "Store",
    champion: "ModelVersion",
    project: Project,
) -> Holder:
    label = f"{champion.name}/{champion.version}"
    forgotten = forgotten_of(champion)
    if forgotten:
        return Holder(label, forgotten, None)
    try:
        score = _score_of_version(config, population, model, store, label, project)
        return Holder(label, (), score)
    except (ModelError, TrackingError) as err:
        logger.warning("the champion cannot be compared: %s", err)
        return Holder(label, (), None, str(err).rstrip("."))


def _score_of_version(
    config: Config,
    population: "Population",
    model: "ModelSpec",
    store: "Store",
    label: str,
    project: Project,
) -> float:
    """Return the metric that chooses of a registered version on this run's validation examples,
    which need not be those of its own run.

    Raises:
        ModelError: it takes other features, or has other classes.
        TrackingError: its files cannot be fetched.
    """
    from fedpipe.models.evaluate import Evaluator
    from fedpipe.models.federated import validation_examples
    from fedpipe.models.input_facts import kind_of, output_names
    from fedpipe.models.saved import SavedClassifier
    from fedpipe.tasks import task_of
    from fedpipe.tasks.saved_outputs import outputs_of
    from fedpipe.tracking.fetch import fetch_model

    manifest = population.manifest
    with tempfile.TemporaryDirectory(prefix="fedpipe-model-") as scratch:
        fetched = fetch_model(store, label, Path(scratch))
        champion = SavedClassifier.load(fetched.saved_model, label)
        facts = fetched.facts
        kind = kind_of(manifest)
        other_labels = (
            facts.labels != output_names(manifest) and facts.feature_dtype is not None
        ) or facts.kind != kind
        if other_labels or not champion.fits(
            tuple(manifest.feature_shape), manifest.outputs, manifest.feature_dtype
        ):
            raise ModelError(
                f"{label} takes other features or tells other classes apart. Set another "
                "tracking.model_name for another task."
            )
        if dict(facts.preprocess) != (manifest.preprocess or {}):
            raise ModelError(
                f"{label} was trained with other steps or figures of data.preprocess, so that it "
                "takes other features. Set another tracking.model_name, or give the steps "
                "constants."
            )

        def logits(_: Any, features: Any) -> Any:  # its weights are in the graph
            return outputs_of(kind, champion(features))

        spec = replace(model, tensor_names=(), logits=logits)
        examples = validation_examples(config, population)
        if examples is None:
            raise ModelError("this run has no validation examples to compare it on.")
        task = task_of(config, population, project.root)
        score = Evaluator(spec, examples, task=task).evaluate({}).score
        if math.isnan(score):
            raise ModelError(f"it has no {task.score.validation} there.")
        return score


def _forgotten_since(project: Project, run_dir: Path) -> list[str]:
    """Return the clients that this run was trained on and that were forgotten since it started."""
    from fedpipe.data.forgotten import read_forgotten
    from fedpipe.tracking.participation import CLIENTS_NAME, REPORTED, read_clients

    forgotten = read_forgotten(project.root)
    table = run_dir / LINEAGE / CLIENTS_NAME
    if not forgotten or not table.exists():
        return []
    return sorted(
        {row.client_id for row in read_clients(table) if row.status == REPORTED} & forgotten
    )
