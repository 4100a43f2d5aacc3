"""The MLflow run of a training: a new one, or that of an earlier try; marked as failed or killed if
the training does not end.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fedpipe.config import Config
from fedpipe.config.used import used_settings
from fedpipe.errors import DataError, reason_of
from fedpipe.project.paths import Project
from fedpipe.runs.lineage import (
    LINEAGE,
    lineage_tags,
    note,
    reproduction_files,
    write_reproduction_files,
)
from fedpipe.runs.refs import DataRef
from fedpipe.runs.state import current_run

if TYPE_CHECKING:
    from fedpipe.data.population import Population
    from fedpipe.tracking.journaled import JournaledRun
    from fedpipe.tracking.store import Store

STARTING = "starting"
_FAILED_SECONDS = 5.0
"""How long a run that failed waits for its store: a run that is told to end has ten seconds for all
of it.
"""


@contextmanager
def tracked(
    config: Config,
    data: DataRef,
    population: "Population",
    project: Project,
    run_name: str,
    tags: Mapping[str, str],
    run_dir: Path,
) -> "Iterator[JournaledRun]":
    """Give the MLflow run with its lineage; mark it as failed, or killed, if the block does not
    come to its end.

    Raises:
        DataError: the run was started with other data.
        TrackingError: the store cannot be reached or written.
    """
    from fedpipe.tracking.environment import environment_tags
    from fedpipe.tracking.journaled import JournaledRun
    from fedpipe.tracking.store import open_store

    state = current_run()
    store = open_store(project.root, config.tracking.experiment)
    run_id = state.values.get("mlflow_run_id") if state else None
    if run_id is None:
        facts = {
            **environment_tags(project.root),
            **lineage_tags(config, data, population.manifest, project),
            **tags,
        }
        facts = write_reproduction_files(run_dir / LINEAGE, config, project, facts)
        begun = bool(
            state and state.values["status"] == STARTING
        )  # killed just here: the store may have the run
        if state:
            state.update(status=STARTING)
        key = state.values.get("key") if state else None
        facts |= {"mlflow.note.content": note(facts)}
        run_id = _start(store, config, data, population, project, run_name, facts, key, begun)
        if state:
            state.update(
                mlflow_run_id=run_id, data_md5=data.md5, data_path=data.path, status="training"
            )
    elif state and state.values["data_md5"] != data.md5:
        raise DataError(
            f"run {state.name}: expected the data that it was started with, md5 "
            f"{state.values['data_md5']}, found {data.md5}. Bring these back (`dvc checkout`), or "
            "start a new run."
        )
    run = JournaledRun(store, run_id, run_dir, config.tracking.save_every)
    try:
        for path in reproduction_files(run_dir / LINEAGE):
            run.log_file(path, LINEAGE)
        yield run
    except BaseException as err:
        run.fail(reason_of(err), not isinstance(err, Exception), _FAILED_SECONDS)
        raise
    finally:
        run.close()


def _start(
    store: "Store",
    config: Config,
    data: DataRef,
    population: "Population",
    project: Project,
    run_name: str,
    tags: Mapping[str, str],
    key: str | None,
    begun: bool,
) -> str:
    from fedpipe.models.federated import training_clients
    from fedpipe.tracking.run import DataRecord, TrackedRun

    manifest = population.manifest
    clients = training_clients(config, population)
    run = TrackedRun.start(
        store,
        name=run_name,
        params=used_settings(config) | {"data.partition": manifest.partition},
        tags=tags,
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
        key=key,
        begun=begun,
    )
    return run.run_id
