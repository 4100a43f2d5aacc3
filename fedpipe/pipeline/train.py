"""Step `train`: federated rounds on the engine, each reported to MLflow and to whoever else
listens.
"""

import hashlib
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedpipe.cluster.machines import machines_of
from fedpipe.config import Config, flatten_result
from fedpipe.config.algorithms import ALGORITHMS
from fedpipe.errors import ModelError, PlanError, shorten
from fedpipe.metric_names import ALLOWED, why_refused
from fedpipe.pipeline.runtime import borrow_runtime
from fedpipe.pipeline.sample_clients import read_plan
from fedpipe.project.paths import Project
from fedpipe.runs.exact import bit_exact
from fedpipe.runs.groups import keep_groups
from fedpipe.runs.lineage import LINEAGE, write_lineage
from fedpipe.runs.parts import CHAIN, UPLOADS, Parts
from fedpipe.runs.refs import DataRef, PlanRef, TrainRef
from fedpipe.system.atomic_files import write_atomic
from fedpipe.types import CohortPlan, RoundSink, Weights, weights_sha256

if TYPE_CHECKING:
    from fedpipe.data.population import Population
    from fedpipe.runs.recorder import Recorder


def train(
    config: Config,
    data: DataRef,
    plan: PlanRef,
    project: Project,
    run_name: str,
    tags: Mapping[str, str] | None = None,
    sinks: Sequence[RoundSink] = (),
) -> TrainRef:
    """Run all rounds of the plan that are not done yet; return where the weights are and under
    which MLflow run.

    The MLflow run, its params, tags and data are written before the first round. A run that fails
    is marked as failed. Where the run's folder has checkpoints and an MLflow run, an earlier try
    was interrupted and this one goes on with them.

    Args:
        config: the settings.
        data: the shards, verified.
        plan: the cohorts; the run's files go to its `run_dir`.
        project: where the store and the caches are.
        run_name: name of the MLflow run.
        tags: what the caller adds to the run's tags, such as the Prefect flow run.
        sinks: take each round's report after MLflow has.

    Raises:
        RoundError, WorkerError, TrackingError, CheckpointError: see there.
        DataError: the run was started with other data.
    """
    from fedpipe.algorithms.catalog import build_algorithm
    from fedpipe.data.population import Population
    from fedpipe.data.prefetch import brought_ahead
    from fedpipe.engine.checkpoint import Checkpoints
    from fedpipe.engine.loop import run_rounds
    from fedpipe.engine.user_algorithm import OwnAlgorithm
    from fedpipe.models import build_model
    from fedpipe.models.evaluate import Evaluator
    from fedpipe.models.federated import training_clients, validation_examples
    from fedpipe.pipeline.privacy import account_of, accounted, noise_key_of, require_budget
    from fedpipe.runs.history import History, logged
    from fedpipe.runs.recorder import Recorder
    from fedpipe.runs.tracked import tracked

    start = time.perf_counter()
    run_dir = Path(plan.run_dir)
    parts = Parts()
    cohorts = read_plan(plan)
    population = Population.open(Path(data.path), verify=False)
    clients = training_clients(config, population)
    _refuse_strangers(cohorts, population, clients)
    recorder = Recorder(run_dir, config.eval.patience)
    identity = {"settings": _sha256(flatten_result(config)), "plan": plan.sha256, "data": data.md5}
    checkpoints = Checkpoints(
        run_dir / "checkpoints",
        identity,
        config.runtime.checkpoint_every,
        config.runtime.checkpoints_keep,
    )
    accountant, cohorts = account_of(config, len(clients), cohorts)
    noise_key = noise_key_of(config, run_dir / "checkpoints")
    if accountant and config.privacy.total_epsilon is not None:
        require_budget(config, accountant, population.manifest, project)
    ahead = brought_ahead(
        Path(data.path),
        cohorts,
        Path(plan.path),
        project.client_cache,
        config.runtime.cache_max_bytes,
        run_dir / "bring.log",
    )
    machines = machines_of(config.runtime, project, run_name, data.md5)
    with ahead, borrow_runtime(config.runtime, run_dir / "worker.log") as runtime:
        if machines is not None:
            runtime.attach(machines)
        model = build_model(
            config,
            tuple(population.manifest.feature_shape),
            population.manifest.num_classes,
            project.root,
        )
        settings = accountant.config if accountant else config
        arguments = (settings, model, population, project.client_cache, project.root, noise_key)
        if config.algorithm.name in ALGORITHMS:
            built: Any = build_algorithm(*arguments)
        else:
            built = OwnAlgorithm.build(config.algorithm.name, runtime, build_algorithm, *arguments)
        keep_groups(config.runtime, built, run_dir)
        algorithm = accounted(built, accountant)
        evaluators = {"test": Evaluator(model, population.central_test())}
        validation = validation_examples(config, population)
        if validation is not None:
            evaluators["validation"] = Evaluator(model, validation)

        def evaluate(weights: Weights) -> dict[str, float]:
            results = {
                split: evaluator.evaluate(weights).metrics(split)
                for split, evaluator in evaluators.items()
            }
            return {key: value for metrics in results.values() for key, value in metrics.items()}

        facts = {
            "fedpipe.plan_sha256": plan.sha256,
            "fedpipe.bit_exact": bit_exact(config, algorithm.info),
            **_texts(algorithm.info),
            **(tags or {}),
        }
        with tracked(config, data, population, project, run_name, facts, run_dir) as run:
            run.log_file(Path(plan.path), "plan")
            history = History(run_dir / LINEAGE, cohorts, config.client, population.num_examples)
            to: list[RoundSink] = [run, recorder, history, *sinks]
            with logged(history, run, parts):
                result = run_rounds(
                    algorithm,
                    runtime,
                    cohorts,
                    evaluate,
                    config.eval.every,
                    to,
                    checkpoints,
                    recorder.is_last,
                )
                recorder.finish()  # before anything else: these are the weights that the run is for
            run.set_tags(
                {f"runtime.{key}": value for key, value in runtime.info.items()}
                | _early_stop(recorder, len(cohorts))
            )
            if accountant:  # fewer rounds than planned have spent less
                run.set_tags(accountant.spent(result.final.round_num))
            run.training_done()
            last_sha256 = weights_sha256(result.final.weights)
            parts.attempt(
                CHAIN,
                lambda: run.log_file(
                    write_lineage(run_dir / LINEAGE, run.run_id, run.store.label, last_sha256),
                    LINEAGE,
                ),
            )
            uploads = Parts(run.store)
            uploads.attempt(UPLOADS, lambda: run.flush(config.tracking.wait_seconds))
    ref = TrainRef(
        run_id=run.run_id,
        run_dir=str(run_dir),
        initial_weights=str(recorder.initial_weights),
        final_weights=str(recorder.final_weights),
        rounds_table=str(recorder.rounds_table),
        weights_sha256=last_sha256,
        seconds=time.perf_counter() - start,
        round_median_seconds=statistics.median(result.round_seconds or [result.final.seconds]),
        rounds=result.final.round_num,
        best_weights=None if recorder.best_round is None else str(recorder.best_weights),
        best_round=recorder.best_round,
        privacy=accountant.summary(result.final.round_num) if accountant else None,
        missing=parts.missing | uploads.missing,
    )
    write_atomic(run_dir / "run.json", json.dumps(asdict(ref), indent=1) + "\n")
    return ref


def _early_stop(recorder: "Recorder", planned: int) -> dict[str, str]:
    if recorder.last_round == planned:
        return {}
    return {
        "fedpipe.stopped_early": f"after round {recorder.last_round} of {planned}: no better "
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
