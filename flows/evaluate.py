"""The evaluation flow: a finished run's weights on the data as they are now. `prefect.yaml` deploys
it, to be scheduled where data grow.
"""

import re
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.runtime import flow_run

from fedpipe.pipeline.evaluate_run import evaluate_run
from fedpipe.project.paths import find_project
from fedpipe.system.log_redaction import scrubbed, watch_outlets
from flows.artifacts import tag_run


@flow(name="federated-evaluation", persist_result=False)
def federated_evaluation(run: str | None = None) -> dict[str, Any]:
    """Evaluate a finished run of this project again, on the data that its settings give now.

    Args:
        run: MLflow run id or name; the newest finished run if not given.

    Returns:
        The figures before and after training, and whether the data are those that the run was
        trained with.
    """
    watch_outlets()
    project = find_project(Path.cwd())
    tag_run(str(flow_run.id), ("fedpipe", "evaluation"))
    with scrubbed():
        evaluation = evaluate_run(project, run, re.sub(r"[^\w.-]", "_", str(flow_run.name)))
        rows = [
            {"weights": name, **{key: round(value, 4) for key, value in evaluation[name].items()}}
            for name in _which(evaluation)
        ]
        create_table_artifact(
            table=rows,
            key="evaluation",
            description=f"Run {evaluation['run']} on data {evaluation['data_md5'][:12]}",
        )
        create_link_artifact(
            link=evaluation["url"],
            link_text=f"MLflow run {evaluation['run_id']}",
            key="mlflow-run",
            description=evaluation["run"],
        )
    return evaluation


def _which(evaluation: dict[str, Any]) -> list[str]:
    return [name for name in ("initial", "final", "best") if evaluation[name] is not None]
