"""The training flow: load data, sample clients, train, evaluate, record.

`fedpipe run`, `python -m fedpipe.launch.train` and the deployment of `prefect.yaml` all run
`federated_training`.
"""

import time
from pathlib import Path
from typing import Any

from prefect import flow, tags
from prefect.context import FlowRunContext
from prefect.runtime import flow_run

from fedpipe.config import load_config
from fedpipe.orchestration.form import (
    AlgorithmName,
    BatchSize,
    CohortSize,
    Epochs,
    LearningRate,
    ModelName,
    Overrides,
    Rounds,
    Seed,
    SourceName,
    form_overrides,
)
from fedpipe.orchestration.run_log import result_line, say, say_results_only
from fedpipe.pipeline.full_run import mark_finished, run_pipeline
from fedpipe.project.paths import find_project
from fedpipe.redact import hide
from fedpipe.registry.retrain import retrain_tags
from fedpipe.runs.context import handed_run, run_of_flow
from fedpipe.runs.summary import new_run_name
from fedpipe.system.log_redaction import scrubbed, watch_outlets
from fedpipe.tracking.tags import PREFECT_FLOW_RUN_ID, PREFECT_FLOW_RUN_NAME, PREFECT_URL
from flows.artifacts import tag_run
from flows.tasks import STEPS


def _name_of_run() -> str:
    """Return the name of the run: the parameter `name`, else the one that a deployment's flow run
    has, else a new one.

    Flow run, MLflow run and the run's folder have the same name.
    """
    name = flow_run.parameters.get("name")
    context = FlowRunContext.get()
    started = context.flow_run if context is not None else None
    if not name and started is not None and started.deployment_id is not None:
        name = started.name  # typed on Prefect's page as "Run Name", or made by Prefect
    return hide(str(name or new_run_name()))


@flow(name="federated-training", flow_run_name=_name_of_run, persist_result=False)
def federated_training(
    params: str = "params.yaml",
    overrides: Overrides = None,
    name: str | None = None,
    rounds: Rounds = None,
    cohort_size: CohortSize = None,
    learning_rate: LearningRate = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    algorithm: AlgorithmName = None,
    model: ModelName = None,
    source: SourceName = None,
    data_path: str | None = None,
    seed: Seed = None,
) -> dict[str, Any]:
    """Run one federated training, from data to recorded model.

    Args:
        params: Params file, relative to the project's folder. A field that is set here overrides
            it, an empty one does not.
        overrides: Any other setting as KEY=VALUE, one per line: client.optimizer=adam,
            eval.patience=5, tracking.register=true.
        name: Name of the MLflow run. Default: the name of the flow run.
        rounds: Rounds of training.
        cohort_size: Clients in each round (cohort.size).
        learning_rate: Learning rate of the clients (client.learning_rate).
        epochs: Passes of a client over its examples in a round (client.epochs).
        batch_size: Examples in a client's batch (client.batch_size).
        algorithm: Algorithm (algorithm.name). For one of your own set the override
            algorithm.name=mypackage.module:function.
        model: Model (model.name). For one of your own set the override
            model.name=mypackage.module:function.
        source: Source of the examples (data.source). For one of your own set the override
            data.source=mypackage.module:function.
        data_path: File or folder of the source (data.path), relative to the project's folder.
        seed: Seed of all draws of training.

    Returns:
        The summary of the run, as `fedpipe run --json` prints it.
    """
    start = time.perf_counter()
    watch_outlets()  # in a Prefect worker's process nobody has before
    say_results_only()
    project = find_project(Path.cwd())
    fields = {
        "rounds": rounds,
        "cohort_size": cohort_size,
        "learning_rate": learning_rate,
        "epochs": epochs,
        "batch_size": batch_size,
        "algorithm": algorithm,
        "model": model,
        "source": source,
        "data_path": data_path,
        "seed": seed,
    }
    all_overrides = form_overrides(fields, overrides)
    config = load_config(project.root / params, all_overrides)
    run_name = hide(name or str(flow_run.name))
    ids = {
        PREFECT_FLOW_RUN_ID: str(flow_run.id),
        PREFECT_FLOW_RUN_NAME: str(flow_run.name),
        PREFECT_URL: str(flow_run.ui_url),
    }

    labels = (config.algorithm.name, config.model.name, config.data.source)
    tag_run(ids[PREFECT_FLOW_RUN_ID], ("fedpipe", *labels))
    called_by_runner = handed_run() is None  # of Prefect, which keeps what the flow returns
    origin = {"params": str(project.root / params), "overrides": all_overrides}
    with (
        scrubbed(),
        tags(*labels),
        run_of_flow(project, run_name, config, ids[PREFECT_FLOW_RUN_ID], **origin) as run,
    ):
        summary = run_pipeline(
            run, STEPS, ids | retrain_tags(run.state), ids[PREFECT_FLOW_RUN_ID], start
        )
        mark_finished(run, summary, told=called_by_runner)
    say(result_line(summary, config.task.shown_metric))
    say(f"files: {summary['run_dir']}; MLflow: {summary['url']}")
    return summary
