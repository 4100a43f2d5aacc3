"""Answers to: where does this come from, and where did this client's data go?"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fedpipe.errors import DataError
from fedpipe.project.paths import Project
from fedpipe.runs.data import data_of
from fedpipe.runs.provenance import chain_of_tags, population_key

if TYPE_CHECKING:
    from mlflow.entities import Run

    from fedpipe.tracking.store import Store

INDEX_NAME = "lineage.sqlite"
FORGOTTEN_TAG = "fedpipe.forgotten_clients"
REASON_TAG = "fedpipe.forgotten_reason"
NO_REASON = "asked to be forgotten"


def run_lineage(project: Project, wanted: str) -> dict[str, Any]:
    """Return the chain of the run that `wanted` names (see `tracking.lookup.find_run`), with its
    model versions; JSON-able.

    Where `wanted` names a registered model, `weights_sha256`, `round` and `figures` are those of
    that version, which need not be those of the run's last round; else they are those of the last
    round.

    Raises:
        TrackingError: the store cannot be read, or has no such run.
    """
    from fedpipe.tracking.lookup import find_run, version_named, weights_of
    from fedpipe.tracking.store import read_store

    store = read_store(project.root)
    chain = chain_of_run(store, find_run(store, wanted))
    with store.guard(f"find {wanted}"):
        version = version_named(store, wanted)
    if version is None:
        return {
            **chain,
            "of": "the last round",
            "round": chain["rounds"],
            "figures": chain["final"],
        }
    sha256, round_num = weights_of(store, version)
    figures = {
        key.removeprefix("metric."): float(value)
        for key, value in version.tags.items()
        if key.startswith("metric.")
    }
    of = f"{version.name}/{version.version}"
    return {**chain, "of": of, "round": round_num, "weights_sha256": sha256, "figures": figures}


def chain_of_run(store: "Store", run: "Run") -> dict[str, Any]:
    """Return the chain of a run, with its model versions; JSON-able. Raises TrackingError if the
    store does not answer.
    """
    from fedpipe.tracking.lookup import model_versions
    from fedpipe.tracking.store import run_url

    info = run.info
    tags = run.data.tags
    versions = [one for one in model_versions(store) if one.run_id == info.run_id]
    return {
        **chain_of_tags(tags),
        "mlflow": {
            "run_id": info.run_id,
            "name": info.run_name,
            "status": info.status,
            "start_time": info.start_time,
            "store": store.label,
            "url": run_url(store, info.experiment_id, info.run_id),
        },
        "data": {
            "source": run.data.params.get("data.source"),
            "population": tags.get("data.population"),
        },
        "weights_sha256": tags.get("weights.last_sha256"),
        "rounds": int(tags["weights.last_round"]) if "weights.last_round" in tags else None,
        "algorithm": run.data.params.get("algorithm.name"),
        "model": run.data.params.get("model.name"),
        "final": _figures(run, "final/"),
        "best": _figures(run, "best/"),
        "versions": [asdict(one) for one in versions],
        "privacy_total": total_of(store, run),
    }


def _figures(run: "Run", prefix: str) -> dict[str, float]:
    return {
        key.removeprefix(prefix): value
        for key, value in run.data.metrics.items()
        if key.startswith(prefix)
    }


def total_of(store: "Store", run: "Run") -> dict[str, Any] | None:
    """Return `privacy_total.total_with_run`, JSON-able; None if the run is not private."""
    from fedpipe.lineage.privacy_total import RELEASED_TAG, total_with_run

    if RELEASED_TAG not in run.data.tags or "data.population" not in run.data.tags:
        return None
    total = total_with_run(store, run)
    return {**total.to_json(), "text": total.sentence()}


def client_lineage(
    project: Project, client_id: str, wanted: str | None = None, population: str | None = None
) -> dict[str, Any]:
    """Return the runs and the registered model versions that trained on a client's data; JSON-able.

    `here` says of a run whether its clients are those that are asked about: the same id in other
    data may be someone else.

    Args:
        project: where.
        client_id: the client.
        wanted: a run or model in whose data the client is; None: the newest run's (see
            `run_data.data_of`).
        population: key of these clients, where it is known already.

    Raises:
        TrackingError: the store cannot be read, or the index not be written.
    """
    from fedpipe.tracking.client_runs import runs_of_client
    from fedpipe.tracking.lookup import model_versions
    from fedpipe.tracking.store import read_store

    store = read_store(project.root)
    title, here = ("", population) if population else _population(project, wanted)
    runs = runs_of_client(store, project.private / INDEX_NAME, client_id)
    by_run = {run.run_id: run for run in runs}
    versions = [
        one for one in model_versions(store) if one.run_id in by_run and by_run[one.run_id].rounds
    ]
    return {
        "client": client_id,
        "data_of": title,
        "population": here,
        "runs": [{**asdict(run), "here": run.population == here} for run in runs],
        "versions": [
            {
                **asdict(one),
                "rounds": by_run[one.run_id].rounds,
                "share": by_run[one.run_id].share,
                "here": by_run[one.run_id].population == here,
            }
            for one in versions
        ],
    }


def mark_versions(
    project: Project, client_ids: Sequence[str], reason: str | None, population: str | None = None
) -> list[str]:
    """Tag every registered model version that trained on the data of these clients; return them as
    `NAME/VERSION`.

    The tag `fedpipe.forgotten_clients` is a JSON list, to which later calls add;
    `fedpipe.forgotten_reason` is the last reason that was given: None leaves an earlier one.
    `population` is the key of who the clients are, that of the newest run's data with None; of
    clients with the same ids in other data nothing is said. A project without runs has nothing to
    tag.

    Raises:
        TrackingError: the store cannot be read or written.
    """
    from fedpipe.tracking.records import MAX_VERSION_TAG, fit
    from fedpipe.tracking.store import has_store, read_store

    if not has_store(project.root):
        return []
    found: dict[tuple[str, str], set[str]] = {}
    before: dict[tuple[str, str], str] = {}
    for client_id in client_ids:
        for version in client_lineage(project, client_id, population=population)["versions"]:
            if version["here"]:
                key = (version["name"], version["version"])
                before[key] = version["tags"].get(REASON_TAG, NO_REASON)
                found.setdefault(
                    key, set(json.loads(version["tags"].get(FORGOTTEN_TAG, "[]")))
                ).add(client_id)
    store = read_store(project.root)
    for (name, number), clients in found.items():
        with store.guard(f"tag version {number} of model {name}"):
            store.client.set_model_version_tag(
                name, number, FORGOTTEN_TAG, json.dumps(sorted(clients))
            )
            store.client.set_model_version_tag(
                name, number, REASON_TAG, fit(reason or before[name, number], MAX_VERSION_TAG)
            )
    return [f"{name}/{number}" for name, number in found]


def forgotten_champions(project: Project) -> list[str]:
    """Return the versions, as `NAME/VERSION`, that are champion and trained on clients that are
    forgotten since.

    Raises:
        TrackingError: the store cannot be read.
    """
    from fedpipe.tracking.lookup import model_versions
    from fedpipe.tracking.model_registry import CHAMPION
    from fedpipe.tracking.store import has_store, read_store

    if not has_store(project.root):
        return []
    versions = model_versions(read_store(project.root))
    return [
        f"{one.name}/{one.version}"
        for one in versions
        if CHAMPION in one.aliases and FORGOTTEN_TAG in one.tags
    ]


def _population(project: Project, wanted: str | None) -> tuple[str, str | None]:
    """Return whose data they are, and the key of their clients, None where there are no data
    yet.
    """
    from fedpipe.data.manifest import read_manifest

    data = data_of(project, wanted, of_runs=True)
    if data.population:
        return data.title, data.population
    try:
        return data.title, population_key(data.settings, read_manifest(project.shards).partition)
    except DataError:
        return data.title, None
