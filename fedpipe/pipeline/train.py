"""Step `train`: federated rounds on the engine, each reported to MLflow and to the run's sinks."""

import hashlib
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedpipe.cluster.machines import machines_of
from fedpipe.config import flatten_result
from fedpipe.config.algorithm_table import ALGORITHMS
from fedpipe.errors import ModelError, PlanError, shorten
from fedpipe.metric_names import ALLOWED, why_refused
from fedpipe.pipeline.runtime import runtime_of
from fedpipe.pipeline.sample_clients import read_plan
from fedpipe.runs.bit_exact import bit_exact
from fedpipe.runs.context import RunContext
from fedpipe.runs.lineage import LINEAGE, write_lineage
from fedpipe.runs.noted_groups import keep_groups
from fedpipe.runs.optional_parts import LINEAGE_PART, UPLOADS, Parts
from fedpipe.runs.step_results import TRAINED_NAME, DataRef, PlanRef, TrainRef
from fedpipe.system.atomic_files import write_atomic
from fedpipe.tracking.tags import BIT_EXACT, PLAN_SHA256, STOPPED_EARLY
from fedpipe.types import CohortPlan, Weights, weights_sha256

if TYPE_CHECKING:
    from fedpipe.algorithms.accountant import Accountant
    from fedpipe.algorithms.base import Algorithm
    from fedpipe.data.population import Population
    from fedpipe.engine.checkpoint import Checkpoints
    from fedpipe.engine.in_process import InProcess
    from fedpipe.engine.loop import Evaluate, LoopResult
    from fedpipe.engine.runtime import Runtime
    from fedpipe.pipeline.warm_start import WarmStart
    from fedpipe.runs.recorder import Recorder

    AnyRuntime = Runtime | InProcess


FROZEN_NAME = "frozen.safetensors"
"""File in the folder of a run with the weights that it does not train, if there are such."""


def train(
    run: RunContext, data: DataRef, plan: PlanRef, tags: Mapping[str, str] | None = None
) -> TrainRef:
    """Run all rounds of the plan that are not done yet; return where the weights are and under
    which MLflow run.

    The MLflow run, its params, tags and data are written before the first round. A run that fails
    is marked as failed. Where the run's folder has checkpoints and an MLflow run, an earlier try
    was interrupted and this one resumes it.

    Args:
        run: the run; its `sinks` receive each round's report after MLflow has it.
        data: the shards, verified.
        plan: the cohorts.
        tags: what the caller adds to the tags of the MLflow run, such as the Prefect flow run.

    Raises:
        RoundError, WorkerError, TrackingError, CheckpointError: see there.
        DataError: the run was started with other data.
    """
    start = time.perf_counter()
    training = _prepare(run, data, plan)
    machines = machines_of(run.config.runtime, run.project, run.name, data.md5)
    with training.prefetch, runtime_of(run) as runtime:
        if machines is not None:
            runtime.attach(machines)
        built = _build(run, training, runtime)
        facts = {
            PLAN_SHA256: plan.sha256,
            BIT_EXACT: bit_exact(run.config, built.algorithm.info),
            **_texts(built.algorithm.info),
            **training.start.tags,
            **(tags or {}),
        }
        rounds = _run_rounds(run, data, plan, training, built, runtime, facts)
    recorder = training.recorder
    accountant = training.accountant
    final = rounds.result.final
    ref = TrainRef(
        run_id=rounds.run_id,
        run_dir=str(run.folder),
        initial_weights=str(recorder.initial_weights),
        final_weights=str(recorder.final_weights),
        rounds_table=str(recorder.rounds_table),
        weights_sha256=rounds.weights_sha256,
        seconds=time.perf_counter() - start,
        round_median_seconds=statistics.median(rounds.result.round_seconds or [final.seconds]),
        rounds=final.round_num,
        best_weights=None if recorder.best_round is None else str(recorder.best_weights),
        best_round=recorder.best_round,
        privacy=accountant.summary(final.round_num) if accountant else None,
        missing=rounds.missing,
    )
    write_atomic(run.folder / TRAINED_NAME, json.dumps(asdict(ref), indent=1) + "\n")
    return ref


@dataclass(frozen=True)
class _Training:
    """What the rounds of a run need, before TensorFlow computes anything.

    Attributes:
        start: the model, with the weights that it starts from.
        cohorts: of each round; fewer than planned where the privacy budget ends the run.
        noise_key: 32 secret bytes; None without privacy, and in a repeatable run.
        prefetch: brings the clients of later rounds into the cache while the block runs.
    """

    start: "WarmStart"
    population: "Population"
    cohorts: CohortPlan
    recorder: "Recorder"
    checkpoints: "Checkpoints"
    accountant: "Accountant | None"
    noise_key: bytes | None
    prefetch: AbstractContextManager[object]


@dataclass(frozen=True)
class _Built:
    """The algorithm with its model and data, and the evaluation of the server's weights."""

    algorithm: "Algorithm"
    evaluate: "Evaluate"


@dataclass(frozen=True)
class _Rounds:
    """What the rounds left: the MLflow run, the last report, and why parts are missing."""

    run_id: str
    result: "LoopResult"
    weights_sha256: str
    missing: dict[str, str]


def _prepare(run: RunContext, data: DataRef, plan: PlanRef) -> _Training:
    """Read the plan and the population; refuse what cannot be trained."""
    from fedpipe.data.population import Population
    from fedpipe.data.prefetch import prefetched
    from fedpipe.engine.checkpoint import Checkpoints
    from fedpipe.models import build_model
    from fedpipe.models.federated import training_clients
    from fedpipe.pipeline.privacy import account_of, noise_key_of, require_budget
    from fedpipe.pipeline.warm_start import warm_started
    from fedpipe.runs.recorder import Recorder
    from fedpipe.tasks.score import score_of

    config = run.config
    cohorts = read_plan(plan)
    population = Population.open(Path(data.path), verify=False)
    clients = training_clients(config, population)
    _refuse_strangers(cohorts, population, clients)
    manifest = population.manifest
    model = build_model(
        config, tuple(manifest.feature_shape), manifest.outputs, run.project.root, manifest.tokens
    )
    start = warm_started(run, model)
    identity = {"settings": _sha256(flatten_result(config)), "plan": plan.sha256, "data": data.md5}
    identity |= start.identity
    folder = run.folder / "checkpoints"
    runtime = config.runtime
    score = score_of(config.task, run.project.root)
    checkpoints = Checkpoints(
        folder, identity, runtime.checkpoint_every, runtime.checkpoints_keep, score
    )
    accountant, cohorts = account_of(config, len(clients), cohorts)
    noise_key = noise_key_of(config, folder)
    if accountant and config.privacy.total_epsilon is not None:
        require_budget(run, accountant, population.manifest)
    prefetch = prefetched(
        Path(data.path),
        cohorts,
        Path(plan.path),
        run.project.client_cache,
        runtime.cache_max_bytes,
        run.folder / "bring.log",
    )
    recorder = Recorder(run.folder, config.eval.patience, score)
    return _Training(
        start, population, cohorts, recorder, checkpoints, accountant, noise_key, prefetch
    )


def _build(run: RunContext, training: _Training, runtime: "AnyRuntime") -> _Built:
    """Build the model, the algorithm and the evaluation."""
    from fedpipe.algorithms.catalog import build_algorithm
    from fedpipe.algorithms.frozen import WithFrozen
    from fedpipe.engine.user_algorithm import UserAlgorithm
    from fedpipe.models.evaluate import Evaluator
    from fedpipe.models.federated import validation_examples
    from fedpipe.models.trainable import frozen_weights, trained_part
    from fedpipe.models.weights_io import save_weights
    from fedpipe.pipeline.privacy import accounted
    from fedpipe.tasks import task_of

    config = run.config
    project = run.project
    population = training.population
    model = training.start.model
    task = task_of(config, population, project.root)
    settings = training.accountant.config if training.accountant else config
    first_weights = model.initial_weights(config.seed)
    arguments = (
        settings,
        trained_part(model, first_weights),
        population,
        project.client_cache,
        project.root,
        training.noise_key,
        task,
    )
    if config.algorithm.name in ALGORITHMS:
        algorithm: Any = build_algorithm(*arguments)
    else:
        algorithm = UserAlgorithm.build(config.algorithm.name, runtime, build_algorithm, *arguments)
    keep_groups(config.runtime, algorithm, run.folder)
    if model.trainable is not None:
        frozen = frozen_weights(model, first_weights)
        save_weights(run.folder / FROZEN_NAME, frozen)
        algorithm = WithFrozen(algorithm, model, frozen)
    evaluators = {"test": Evaluator(model, population.central_test(), task=task)}
    validation = validation_examples(config, population)
    if validation is not None:
        evaluators["validation"] = Evaluator(model, validation, task=task)

    def evaluate(weights: Weights) -> dict[str, float]:
        metrics: dict[str, float] = {}
        for split, evaluator in evaluators.items():
            metrics |= evaluator.evaluate(weights).metrics(split)
        return metrics

    return _Built(accounted(algorithm, training.accountant), evaluate)


def _run_rounds(
    run: RunContext,
    data: DataRef,
    plan: PlanRef,
    training: _Training,
    built: _Built,
    runtime: "AnyRuntime",
    facts: Mapping[str, str],
) -> _Rounds:
    """Run the rounds under the run's MLflow run, and send there what training leaves."""
    from fedpipe.engine.loop import run_rounds
    from fedpipe.runs.history import History, logged
    from fedpipe.runs.mlflow_run import tracked

    config = run.config
    recorder = training.recorder
    cohorts = training.cohorts
    lineage = run.folder / LINEAGE
    parts = Parts()
    with tracked(run, data, training.population, facts) as mlflow_run:
        mlflow_run.log_file(Path(plan.path), "plan")
        history = History(lineage, cohorts, config.client, training.population.num_examples)
        with logged(history, mlflow_run, parts):
            result = run_rounds(
                built.algorithm,
                runtime,
                cohorts,
                built.evaluate,
                config.eval.every,
                [mlflow_run, recorder, history, *run.sinks],
                training.checkpoints,
                recorder.is_last,
            )
            recorder.finish()  # before anything else: these are the weights that the run is for
        mlflow_run.set_tags(
            {f"runtime.{key}": value for key, value in runtime.info.items()}
            | _early_stop(recorder, len(cohorts))
        )
        if training.accountant:  # fewer rounds than planned have spent less
            mlflow_run.set_tags(training.accountant.spent(result.final.round_num))
        mlflow_run.training_done()
        last_sha256 = weights_sha256(result.final.weights)

        def log_lineage() -> None:
            label = mlflow_run.store.label
            path = write_lineage(lineage, mlflow_run.run_id, label, last_sha256)
            mlflow_run.log_file(path, LINEAGE)

        parts.attempt(LINEAGE_PART, log_lineage)
        uploads = Parts(mlflow_run.store)
        uploads.attempt(UPLOADS, lambda: mlflow_run.flush(config.tracking.wait_seconds))
    return _Rounds(mlflow_run.run_id, result, last_sha256, parts.missing | uploads.missing)


def _early_stop(recorder: "Recorder", planned: int) -> dict[str, str]:
    if recorder.last_round == planned:
        return {}
    return {
        STOPPED_EARLY: f"after round {recorder.last_round} of {planned}: no better "
        f"validation since {recorder.best_round}"
    }


def _texts(info: Mapping[str, Any]) -> dict[str, str]:
    """Return what an algorithm says of itself as tags. Raises ModelError for a name that the store
    would refuse.
    """
    for name in info:
        reason = why_refused(name)
        if reason is not None:
            raise ModelError(
                f"info of the algorithm: the name {name!r} cannot be recorded: {reason}. A name "
                f"may have {ALLOWED}."
            )
    return {name: str(value) for name, value in info.items()}


def _sha256(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _refuse_strangers(plan: CohortPlan, population: "Population", clients: Sequence[str]) -> None:
    """Refuse a plan that was drawn from other data: it may name clients that are gone."""
    planned = {client_id for cohort in plan.cohorts for client_id in cohort}
    planned |= {
        client_id
        for turnout in plan.turnouts
        for client_id in (*turnout.dropped, *turnout.late, *turnout.surplus)
    }
    forgotten = planned & set(population.manifest.forgotten)
    strangers = {client_id for client_id in planned if client_id not in clients}
    if forgotten:
        raise PlanError(
            "cohort plan: expected clients that may train, found forgotten ones: "
            f"{shorten(sorted(forgotten))}. Start a new run."
        )
    if strangers:
        raise PlanError(
            "cohort plan: expected clients that may train, found others: "
            f"{shorten(sorted(strangers))}. Start a new run."
        )
