"""The training flow: load data, sample clients, train, evaluate, record.

`uv run fedpipe run`, `uv run python -m flows.train` and the deployment of `prefect.yaml` all run `federated_training`.
"""

import json
import time
from pathlib import Path
from typing import Any

from prefect import flow, tags
from prefect.runtime import flow_run

from fedpipe.config import load_config
from fedpipe.outlets import scrubbed, watch_outlets
from fedpipe.redact import hide
from fedpipe.steps.project import find_project
from fedpipe.steps.record import failing_with_its_run
from fedpipe.steps.retrain import retrain_tags
from fedpipe.steps.run_state import FINISHED, current_run, run_of_flow
from fedpipe.steps.summary import new_run_name, summarize
from flows.artifacts import tag_run
from flows.tasks import evaluate, load_data, record, sample_clients, train


def _name_of_run() -> str:
    """Return the name that the caller gave, or a new one: flow run and MLflow run have the same."""
    return hide(str(flow_run.parameters.get("name") or new_run_name()))


@flow(name="federated-training", flow_run_name=_name_of_run, persist_result=False)
def federated_training(params: str = "params.yaml", overrides: list[str] | None = None, name: str | None = None) -> dict[str, Any]:
    """Run one federated training, from data to recorded model.

    Args:
        params: params file, relative to the project's folder.
        overrides: settings laid over it, such as `client.learning_rate=0.05`.
        name: name of the flow run and the MLflow run; made from the time if not given.

    Returns:
        The summary of the run, as `fedpipe run --json` prints it.
    """
    start = time.perf_counter()
    watch_outlets()  # in a Prefect worker's process nobody has before
    project = find_project(Path.cwd())
    config = load_config(project.root / params, overrides or ())
    run_name = hide(name or str(flow_run.name))
    ids = {
        "prefect.flow_run_id": str(flow_run.id),
        "prefect.flow_run_name": str(flow_run.name),
        "prefect.url": str(flow_run.ui_url),
    }

    labels = (config.algorithm.name, config.model.name, config.data.source)
    tag_run(ids["prefect.flow_run_id"], ("fedpipe", *labels))
    nobody_waits = current_run() is None  # a worker of Prefect started it; what it returns is Prefect's
    asked = {"params": str(project.root / params), "overrides": list(overrides or ())}
    with scrubbed(), tags(*labels), run_of_flow(project, run_name, config, ids["prefect.flow_run_id"], **asked) as run:
        data = load_data(config, project)
        plan = sample_clients(config, data, run.folder)
        trained = train(config, data, plan, project, run_name, ids | retrain_tags(run))
        with failing_with_its_run(config, trained, project):
            evaluated = evaluate(config, data, trained, project)
            recorded = record(config, data, trained, evaluated, project)
        seconds = time.perf_counter() - start
        summary = summarize(project, data, trained, evaluated, recorded, ids["prefect.flow_run_id"], seconds)
        run.update(status=FINISHED, summary=summary, incomplete=summary["incomplete"], told=nobody_waits)
    return summary


if __name__ == "__main__":
    from flows.launch import launch

    here = find_project(Path.cwd())
    print(json.dumps(launch(here, here.params)))
