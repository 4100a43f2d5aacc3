"""The MLflow run of a training: a new one, or that of an earlier try; marked as failed or killed if
the training does not finish.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fedpipe.config.defaults import used_settings
from fedpipe.errors import DataError, reason_of
from fedpipe.runs.context import RunContext
from fedpipe.runs.lineage import (
    LINEAGE,
    lineage_tags,
    note,
    reproduction_files,
    write_reproduction_files,
)
from fedpipe.runs.step_results import DataRef
from fedpipe.status import RunStatus
from fedpipe.tasks.score import score_of

if TYPE_CHECKING:
    from fedpipe.data.population import Population
    from fedpipe.tracking.journaled_run import JournaledRun
    from fedpipe.tracking.store import Store

_FAILED_SECONDS = 5.0
"""How long a run that failed waits for its store: a terminated run has ten seconds in all."""


@contextmanager
def tracked(
    run: RunContext, data: DataRef, population: "Population", tags: Mapping[str, str]
) -> "Iterator[JournaledRun]":
    """Give the MLflow run with its lineage; mark it as failed, or killed, if the block does not
    finish.

    Raises:
        DataError: the run was started with other data.
        TrackingError: the store cannot be reached or written.
    """
    from fedpipe.tracking.journaled_run import JournaledRun
    from fedpipe.tracking.store import open_store

    tracking = run.config.tracking
    store = open_store(run.project.root, tracking.experiment)
    state = run.state
    run_id = state.values.get("mlflow_run_id") if state else None
    if run_id is None:
        run_id = _start(run, store, data, population, tags)
    elif state and state.values["data_md5"] != data.md5:
        raise DataError(
            f"run {state.name}: expected the data that it was started with, md5 "
            f"{state.values['data_md5']}, found {data.md5}. Bring these back (`dvc checkout`), or "
            "start a new run."
        )
    score = score_of(run.config.task, run.project.root)
    mlflow_run = JournaledRun(store, run_id, run.folder, tracking.save_every, score)
    try:
        for path in reproduction_files(run.folder / LINEAGE):
            mlflow_run.log_file(path, LINEAGE)
        yield mlflow_run
    except BaseException as err:
        mlflow_run.fail(reason_of(err), not isinstance(err, Exception), _FAILED_SECONDS)
        raise
    finally:
        mlflow_run.close()


def _start(
    run: RunContext,
    store: "Store",
    data: DataRef,
    population: "Population",
    tags: Mapping[str, str],
) -> str:
    """Make the MLflow run, or find the one that an earlier try made just before it was killed;
    return its id.
    """
    from fedpipe.models.federated import training_clients
    from fedpipe.tracking.environment import environment_tags
    from fedpipe.tracking.run import DataRecord, TrackedRun

    config = run.config
    project = run.project
    state = run.state
    manifest = population.manifest
    facts = {
        **environment_tags(project.root),
        **lineage_tags(config, data, manifest, project),
        **tags,
    }
    facts = write_reproduction_files(run.folder / LINEAGE, config, project, facts)
    # An earlier try was killed just here: the store may have its run.
    may_exist = bool(state and state.values["status"] == RunStatus.STARTING)
    if state:
        state.update(status=RunStatus.STARTING)
    clients = training_clients(config, population)
    mlflow_run = TrackedRun.start(
        store,
        name=run.name,
        params=used_settings(config) | {"data.partition": manifest.partition},
        tags=facts | {"mlflow.note.content": note(facts)},
        data=DataRecord(
            name=config.data.source,
            path=str(Path(data.path).relative_to(project.root)),
            md5=data.md5,
            source=f"{manifest.source} {manifest.source_version}",
            counts={
                "clients": len(clients),
                "train_examples": int(population.training_sizes(clients).sum()),
            },
        ),
        key=state.values.get("key") if state else None,
        begun=may_exist,
    )
    if state:
        state.update(
            mlflow_run_id=mlflow_run.run_id,
            data_md5=data.md5,
            data_path=data.path,
            status=RunStatus.TRAINING,
        )
    return mlflow_run.run_id
