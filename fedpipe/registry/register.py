"""Registers a run's model, and moves the alias `champion` if it is the better one
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
from fedpipe.lineage.queries import forgotten_of
from fedpipe.project.paths import Project
from fedpipe.registry.promotion import Holder, decide
from fedpipe.runs.lineage import LINEAGE
from fedpipe.runs.refs import RegisteredRef
from fedpipe.system.locks import file_lock
from fedpipe.tracking.tags import (
    DECISION,
    FORGOTTEN_CLIENTS,
    FORGOTTEN_REASON,
    NOT_REGISTERED,
    REPLACED_BY,
    VERSION_METRIC_PREFIX,
    VERSION_MODEL_ID,
)
from fedpipe.types import VALIDATION_SCORE

if TYPE_CHECKING:
    from fedpipe.data.population import Population
    from fedpipe.models import ModelSpec
    from fedpipe.tracking.lookup import ModelVersion
    from fedpipe.tracking.run import TrackedRun
    from fedpipe.tracking.store import Store

logger = logging.getLogger(__name__)


def register(
    config: Config,
    population: "Population",
    model: "ModelSpec",
    run: "TrackedRun",
    model_id: str,
    metrics: Mapping[str, float],
    run_dir: Path,
    project: Project,
) -> RegisteredRef | None:
    """Make the run's logged model a version of `tracking.model_name`, with lineage and metrics as
    tags, and give it its alias.

    A run that is completed again has its version already, and whoever is champion by then stays. A
    private model that would pass the budget `privacy.total_epsilon` is not registered: None is
    returned, and the run has the tag `fedpipe.not_registered`.

    Args:
        config: `tracking` and `eval` are read.
        population: the clients of the run; their validation examples compare the champion with the
            new model.
        model: the architecture of the new model.
        run: the run; has all its tags.
        model_id: its logged model.
        metrics: of the model, by `split/metric`.
        run_dir: folder of the run's files.
        project: where the list of the forgotten is.

    Raises:
        TrackingError: the store cannot be read or written.
    """
    from fedpipe.tracking.model_registry import (
        CHAMPION,
        champion_of,
        move_alias,
        register_version,
        tag_version,
    )

    name = config.tracking.model_name
    score = metrics.get(VALIDATION_SCORE, math.nan)
    budget = config.privacy.total_epsilon
    if budget is not None and not _within_budget(budget, run):
        return None
    project.private.mkdir(parents=True, exist_ok=True)
    with file_lock(
        project.private / "registry.lock"
    ):  # two runs of this project that end together are compared one after the other
        before = champion_of(run.store, name)
        forgotten = _forgotten_since(project, run_dir)
        tags = {VERSION_METRIC_PREFIX + key: repr(value) for key, value in metrics.items()} | {
            VERSION_MODEL_ID: model_id
        }
        if forgotten:
            tags |= {
                FORGOTTEN_CLIENTS: json.dumps(forgotten),
                FORGOTTEN_REASON: "forgotten while it trained",
            }
        version = register_version(run.store, name, model_id, run.run_id, tags)
        if before is not None and before.version == version.version:
            alias = CHAMPION
            reason = "it is champion already"
            measured = None
        else:
            holder = _holder(config, population, model, run.store, before)
            alias, reason = decide(score, tuple(forgotten), holder, config.tracking.min_improvement)
            measured = holder.score if holder else None
        move_alias(run.store, alias, version)
        tag_version(run.store, version, {DECISION: f"{alias}: {reason}"})
        if before is not None and alias == CHAMPION and before.version != version.version:
            tag_version(run.store, before, {REPLACED_BY: f"{name}/{version.version}"})
    number = None if before is None else before.version
    known = None if math.isnan(score) else score
    return RegisteredRef(
        name,
        version.version,
        alias,
        number,
        known,
        measured,
        config.tracking.min_improvement,
        reason,
    )


def _within_budget(budget: float, run: "TrackedRun") -> bool:
    """Return whether the run's model may be registered: a run that ended while this one trained may
    have used up the budget.
    """
    from fedpipe.lineage.privacy_total import total_with_run

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
    before: "ModelVersion | None",
) -> Holder | None:
    if before is None:
        return None
    label = f"{before.name}/{before.version}"
    forgotten = forgotten_of(before)
    if forgotten:
        return Holder(label, forgotten, None)
    try:
        return Holder(label, (), _accuracy_of(config, population, model, store, label))
    except (ModelError, TrackingError) as err:
        logger.warning("the champion cannot be compared: %s", err)
        return Holder(label, (), None, str(err).rstrip("."))


def _accuracy_of(
    config: Config, population: "Population", model: "ModelSpec", store: "Store", wanted: str
) -> float:
    """Return the `validation/accuracy` of a registered version on this run's validation examples,
    which need not be those of its own.

    Raises:
        ModelError: it takes other features, or tells other classes apart.
        TrackingError: its files cannot be had.
    """
    import tensorflow as tf

    from fedpipe.models.evaluate import Evaluator
    from fedpipe.models.federated import validation_examples
    from fedpipe.models.saved import SavedClassifier
    from fedpipe.tracking.fetch import fetch_model

    manifest = population.manifest
    with tempfile.TemporaryDirectory(prefix="fedpipe-model-") as scratch:
        fetched = fetch_model(store, wanted, Path(scratch))
        champion = SavedClassifier.load(fetched.saved_model, wanted)
        other_labels = (
            fetched.facts.labels != (manifest.vocabulary or ())
            and fetched.facts.feature_dtype is not None
        )
        if other_labels or not champion.fits(
            tuple(manifest.feature_shape), manifest.num_classes, manifest.feature_dtype
        ):
            raise ModelError(
                f"{wanted} takes other features or tells other classes apart. Set another "
                "tracking.model_name for another task."
            )

        # its weights are in the graph
        def logits(weights: Any, features: Any) -> Any:  # noqa: ARG001
            return tf.math.log(tf.maximum(champion(features), 1e-38))

        spec = replace(model, tensor_names=(), logits=logits)
        examples = validation_examples(config, population)
        if examples is None:
            raise ModelError("this run has no validation examples to compare it on.")
        return Evaluator(spec, examples).evaluate({}).accuracy


def _forgotten_since(project: Project, run_dir: Path) -> list[str]:
    """Return the clients that this run trained on and that are forgotten now: it may have begun
    before they were.
    """
    from fedpipe.data.forgotten import read_forgotten
    from fedpipe.tracking.participation import CLIENTS_NAME, REPORTED, read_clients

    forgotten = read_forgotten(project.root)
    table = run_dir / LINEAGE / CLIENTS_NAME
    if not forgotten or not table.exists():
        return []
    return sorted(
        {row.client_id for row in read_clients(table) if row.status == REPORTED} & forgotten
    )
