"""Lineage of a run or model: where it comes from; and of a client: where its data went."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from fedpipe.errors import DataError
from fedpipe.lineage.privacy_total import PrivacyTotal, total_with_run
from fedpipe.project.paths import Project
from fedpipe.runs.find_data import data_of
from fedpipe.runs.lineage import TagLineage, lineage_of_tags, population_key
from fedpipe.tracking.client_runs import ClientRun, runs_of_client
from fedpipe.tracking.lookup import (
    ModelVersion,
    find_run,
    model_versions,
    version_named,
    weights_of,
)
from fedpipe.tracking.store import Store, read_store, run_url
from fedpipe.tracking.tags import (
    LAST_ROUND,
    LAST_SHA256,
    POPULATION,
    PRIVACY_RELEASED,
    VERSION_METRIC_PREFIX,
)

if TYPE_CHECKING:
    from mlflow.entities import Run

INDEX_NAME = "lineage.sqlite"
OF_LAST_ROUND = "the last round"


@dataclass(frozen=True)
class StoredRunLineage:
    """The MLflow run of a lineage; `start_time` in milliseconds since 1970, `url` of its page."""

    run_id: str
    name: str
    status: str
    start_time: int
    store: str
    url: str


@dataclass(frozen=True)
class DataLineage:
    """The data of a lineage: `data.source`, and the key of who the clients are."""

    source: str | None
    population: str | None


@dataclass(frozen=True)
class RunLineage(TagLineage):
    """Lineage of a run, or of one of its model versions.

    Attributes:
        mlflow, data: the run and its data.
        weights_sha256: of the weights that `of` names; None where that is not known.
        rounds: number of rounds that were trained.
        algorithm, model: their names.
        final, best: the run's figures by `split/metric`, after the last and the best round.
        versions: registered versions that the run trained.
        privacy_total: what all runs on these clients cost; None of a run without privacy.
        of: whose weights and figures these are: `NAME/VERSION`, or `the last round`.
        round: the round of these weights.
        figures: of these weights, by `split/metric`.
    """

    mlflow: StoredRunLineage
    data: DataLineage
    weights_sha256: str | None
    rounds: int | None
    algorithm: str | None
    model: str | None
    final: Mapping[str, float]
    best: Mapping[str, float]
    versions: Sequence[ModelVersion]
    privacy_total: PrivacyTotal | None
    of: str
    round: int | None
    figures: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return the values, JSON-able."""
        total = self.privacy_total and self.privacy_total.to_json()
        return asdict(self) | {"privacy_total": total}


@dataclass(frozen=True)
class RunOfClient(ClientRun):
    """A run that a client took part in; `here` is False where it was another client of this id."""

    here: bool


@dataclass(frozen=True)
class VersionOfClient(ModelVersion):
    """A registered version that trained on a client's data: in how many rounds, which share of its
    run's examples, and whether the client is the one that is asked about.
    """

    rounds: int
    share: float | None
    here: bool


@dataclass(frozen=True)
class ClientLineage:
    """The runs and registered versions that trained on a client's data.

    Attributes:
        client: its id.
        data_of: the run or settings whose data the client is in.
        population: key of who these clients are; the same id in other data may be someone else.
        runs: the newest first.
        versions: by name and number.
    """

    client: str
    data_of: str
    population: str | None
    runs: Sequence[RunOfClient]
    versions: Sequence[VersionOfClient]


def run_lineage(project: Project, name: str) -> RunLineage:
    """Return the lineage of a run or of a registered version.

    Args:
        project: has the store.
        name: of a run or a version, as `tracking.lookup.find_run` takes it.

    Raises:
        TrackingError: the store cannot be read, or has no such run.
    """
    store = read_store(project.root)
    lineage = lineage_of_run(store, find_run(store, name))
    with store.guard(f"find {name}"):
        version = version_named(store, name)
    if version is None:
        return lineage
    sha256, round_num = weights_of(store, version)
    return replace(
        lineage,
        of=f"{version.name}/{version.version}",
        round=round_num,
        weights_sha256=sha256,
        figures={k: float(v) for k, v in _with_prefix(version.tags, VERSION_METRIC_PREFIX).items()},
    )


def lineage_of_run(store: Store, run: "Run") -> RunLineage:
    """Return the lineage of a run and of its last round.

    Raises:
        TrackingError: the store does not answer.
    """
    info = run.info
    tags = run.data.tags
    params = run.data.params
    rounds = int(tags[LAST_ROUND]) if LAST_ROUND in tags else None
    final = _with_prefix(run.data.metrics, "final/")
    return RunLineage(
        **vars(lineage_of_tags(tags)),
        mlflow=StoredRunLineage(
            run_id=info.run_id,
            name=info.run_name,
            status=info.status,
            start_time=info.start_time,
            store=store.label,
            url=run_url(store, info.experiment_id, info.run_id),
        ),
        data=DataLineage(params.get("data.source"), tags.get(POPULATION)),
        weights_sha256=tags.get(LAST_SHA256),
        rounds=rounds,
        algorithm=params.get("algorithm.name"),
        model=params.get("model.name"),
        final=final,
        best=_with_prefix(run.data.metrics, "best/"),
        versions=[v for v in model_versions(store) if v.run_id == info.run_id],
        privacy_total=total_of(store, run),
        of=OF_LAST_ROUND,
        round=rounds,
        figures=final,
    )


def _with_prefix(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the values whose keys start with `prefix`, by the rest of the key."""
    return {
        key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)
    }


def total_of(store: Store, run: "Run") -> PrivacyTotal | None:
    """Return `privacy_total.total_with_run`; None if the run is not private."""
    if PRIVACY_RELEASED not in run.data.tags or POPULATION not in run.data.tags:
        return None
    return total_with_run(store, run)


def client_lineage(
    project: Project, client_id: str, name: str | None = None, population: str | None = None
) -> ClientLineage:
    """Return the runs and the registered model versions that trained on a client's data.

    Args:
        project: has the store.
        client_id: the client.
        name: of a run or version in whose data the client is; None: the newest run's (see
            `runs.data.data_of`).
        population: key of these clients, where it is known already.

    Raises:
        TrackingError: the store cannot be read, or the index not be written.
    """
    store = read_store(project.root)
    title = ""
    if not population:
        title, population = _population(project, name)
    runs = runs_of_client(store, project.private / INDEX_NAME, client_id)
    by_id = {run.run_id: run for run in runs}
    versions = [
        VersionOfClient(
            **vars(version),
            rounds=trained.rounds,
            share=trained.share,
            here=trained.population == population,
        )
        for version in model_versions(store)
        if (trained := by_id.get(version.run_id)) and trained.rounds
    ]
    return ClientLineage(
        client=client_id,
        data_of=title,
        population=population,
        runs=[RunOfClient(**vars(run), here=run.population == population) for run in runs],
        versions=versions,
    )


def _population(project: Project, name: str | None) -> tuple[str, str | None]:
    """Return whose data they are, and the key of their clients, None where there are no data
    yet.
    """
    from fedpipe.data.manifest import read_manifest

    data = data_of(project, name, of_runs=True)
    if data.population:
        return data.title, data.population
    try:
        return data.title, population_key(data.settings, read_manifest(project.shards).partition)
    except DataError:
        return data.title, None
