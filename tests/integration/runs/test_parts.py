"""A run whose rounds are done is recorded whatever part fails: a real store, real shards and weights, no training."""

import json
import logging
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from fedpipe.cli.main import app
from fedpipe.config import load_config
from fedpipe.config.shard_settings import ShardSettings
from fedpipe.data.population import Population
from fedpipe.errors import TrackingError
from fedpipe.models import build_model
from fedpipe.models.weights_io import save_weights
from fedpipe.pipeline.evaluate import evaluate
from fedpipe.pipeline.record import record
from fedpipe.project.paths import Project
from fedpipe.runs.context import RunContext
from fedpipe.runs.history import History
from fedpipe.runs.optional_parts import Parts
from fedpipe.runs.shards import prepare
from fedpipe.runs.state import begin
from fedpipe.runs.step_results import DataRef, RecordRef, TrainRef
from fedpipe.status import RunStatus
from fedpipe.system.atomic_files import write_atomic
from fedpipe.tables.rounds import rounds_csv
from fedpipe.tracking.journaled_run import JournaledRun
from fedpipe.tracking.run import DataRecord, TrackedRun
from fedpipe.tracking.store import open_store
from fedpipe.tracking.tags import INCOMPLETE
from fedpipe.types import CohortPlan, RoundReport, weights_sha256

ROOT = Path(__file__).parents[3]
SETTINGS = [
    *(
        "data.source=synthetic",
        "data.clients=10",
        "cohort.size=2",
        "data.validation_fraction=0.2",
        "rounds=2",
    ),
    *("tracking.register=true", "tracking.model_name=digits"),
]


class Trained:
    """A project with a run whose rounds are done and that nothing has evaluated or recorded yet."""

    def __init__(self, root: Path) -> None:
        shutil.copy2(ROOT / "params.yaml", root)
        self.project, self.config = Project(root), load_config(root / "params.yaml", SETTINGS)
        prepare(ShardSettings.of(self.config), self.project.shards, self.project)
        self.store = open_store(root, self.config.tracking.experiment)
        self.population = Population.open(self.project.shards)
        self.data = DataRef(str(self.project.shards), "0" * 32 + ".dir", "made", 0.1)
        manifest = self.population.manifest
        model = build_model(self.config, tuple(manifest.feature_shape), manifest.num_classes)
        weights = model.initial_weights(1)
        self.state = begin(self.project, "trained", self.config, "run")
        folder = self.state.folder
        client = self.population.participating()[0]
        self.plan = CohortPlan("uniform", 1, ((client,), (client,)))
        record_of = DataRecord("synthetic", "data/shards", self.data.md5, "synthetic", {})
        run = TrackedRun.start(
            self.store, name="trained", params={"rounds": 2}, tags={}, data=record_of
        )
        history = History(
            folder / "lineage", self.plan, self.config.client, self.population.num_examples
        )
        journaled = JournaledRun(self.store, run.run_id, folder, save_every=5)
        rows = []
        for number in range(3):
            metrics = {
                "test/loss": 2.0 - number / 2,
                "test/accuracy": 0.25 * number,
                "validation/accuracy": 0.2 * number,
            }
            report = RoundReport(
                number, (client,) if number else (), (), metrics, 8 * number, 0.1, weights
            )
            journaled.round_done(report)
            history.round_done(report)
            rows.append({"round": number, **metrics})
        history.write_clients()
        history.close()
        journaled.training_done()
        journaled.flush(30)
        journaled.close()
        (folder / "rounds.csv").write_text(rounds_csv(rows))
        (folder / "cohorts.json").write_text(self.plan.to_json())
        (folder / "worker.log").write_text("")
        paths = [folder / f"{name}.safetensors" for name in ("initial", "final", "best")]
        for path in paths:
            save_weights(path, weights)
        self.trained = TrainRef(
            run_id=run.run_id,
            run_dir=str(folder),
            initial_weights=str(paths[0]),
            final_weights=str(paths[1]),
            rounds_table=str(folder / "rounds.csv"),
            weights_sha256=weights_sha256(weights),
            seconds=1.0,
            round_median_seconds=0.1,
            rounds=2,
            best_weights=str(paths[2]),
            best_round=2,
        )
        (folder / "run.json").write_text(json.dumps(asdict(self.trained)))
        self.state.update(mlflow_run_id=run.run_id, data_md5=self.data.md5)

    def finish(self, trained: TrainRef | None = None, personalize_steps: int = 0) -> RecordRef:
        """Evaluate and record, as a flow does after the last round."""
        trained = trained or self.trained
        config = self.config.model_copy(
            update={
                "eval": self.config.eval.model_copy(update={"personalize_steps": personalize_steps})
            }
        )
        run = RunContext.of_state(self.project, self.state, config)
        evaluated = evaluate(run, self.data, trained)
        recorded = record(replace(run, config=self.config), self.data, trained, evaluated)
        self.state.update(
            status=RunStatus.FINISHED, incomplete=dict(recorded.incomplete), told=True
        )
        return recorded

    def run(self) -> Any:
        return self.store.client.get_run(self.trained.run_id)

    def artifacts(self, folder: str) -> set[str]:
        return {file.path for file in self.store.client.list_artifacts(self.trained.run_id, folder)}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield Trained(tmp_path_factory.mktemp("project"))


def fail(*_: object, **__: object) -> None:
    raise ValueError("it broke here\nand there")


EVERYTHING = (
    *(
        "fedpipe.models.evaluate.Evaluator.evaluate",
        "fedpipe.tracking.model.log_model",
        "fedpipe.figures.picture_file.write_picture",
    ),
    *(
        "fedpipe.pipeline.describe.write_population",
        "fedpipe.tracking.run.TrackedRun.log_file",
        "fedpipe.report.write.render",
    ),
    "fedpipe.tracking.run.TrackedRun.log_final_metrics",
)


def test_a_run_without_any_of_its_parts_is_recorded_and_made_whole_later(
    place: Trained, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "fedpipe"):
        for name in EVERYTHING:
            patch.setattr(name, fail)
        recorded = place.finish()
    parts = set(recorded.incomplete)
    expected = {
        "evaluation on the test examples",
        "saved model",
        "final figures",
        "registered model",
        "table population.json",
        "report",
    }
    expected |= {
        f"picture {name}"
        for name in ("learning_curves", "confusion_matrix", "reliability", "client_accuracies")
    }
    expected |= {"pictures of the population"}
    expected |= {
        f"upload of {name}"
        for name in ("rounds.csv", "metrics.json", "timing.json", "manifest.json", "worker.log")
    }
    assert parts == expected
    run = place.run()
    assert run.info.status == "FINISHED"
    lines = run.data.tags[INCOMPLETE].splitlines()
    assert {line.partition(": ")[0] for line in lines} == expected
    assert next(line for line in lines if line.startswith("saved model")).startswith(
        "saved model: ValueError: it broke here and there (test_parts.py, line "
    )
    assert recorded.model_uri is None
    warning = next(
        line
        for line in caplog.records
        if "not recorded: saved model: ValueError: it broke here" in line.getMessage()
    )
    assert warning.exc_info is not None  # what --debug shows
    # The figures are those that training measured in the same rounds.
    assert json.loads((place.state.folder / "metrics.json").read_text())["final"] == {
        "test/loss": 1.0,
        "test/accuracy": 0.5,
    }

    monkeypatch.chdir(place.project.root)
    monkeypatch.setattr("fedpipe.runs.shards.ensure_shards", lambda _config, _project: place.data)
    done = CliRunner().invoke(app, ["record", "--json"])
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    assert summary["run_id"] == place.trained.run_id
    assert summary["incomplete"] == {}
    assert summary["registered"]["version"] == "1"
    run = place.run()
    assert INCOMPLETE not in run.data.tags
    assert run.data.metrics["final/test/accuracy"] == summary["final"]["test/accuracy"]
    assert "plots/confusion_matrix.svg" in place.artifacts("plots")
    assert {
        "tables/confusion_counts.csv",
        "tables/clients.parquet",
        "tables/rounds.csv",
    } <= place.artifacts("tables")
    assert (place.state.folder / "report.html").exists()
    assert (
        CliRunner().invoke(app, ["record"]).stdout == "nothing to record: no run here lacks parts\n"
    )


ONE_PART = {
    "evaluation of each client": "fedpipe.models.federated.evaluate_clients",
    "evaluation of personalization": "fedpipe.algorithms.personalize.personalized_scores",
    "table mistakes.parquet": "fedpipe.tables.mistakes.write_mistakes",
    "picture reliability": "fedpipe.figures.evaluation_charts.reliability_diagram",
    "registered model": "fedpipe.registry.register.move_alias",
    "report": "fedpipe.report.page.summary",
}


@pytest.mark.parametrize("part", ONE_PART)
def test_each_part_fails_alone(place: Trained, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    monkeypatch.setattr(
        "fedpipe.figures.picture_file.write_picture", lambda _charts, path: write_atomic(path, "")
    )
    monkeypatch.setattr(ONE_PART[part], fail)
    if part == "evaluation of each client":
        (place.state.folder / "clients.parquet").unlink(missing_ok=True)
    recorded = place.finish(personalize_steps=int("personalization" in part))
    missing = set(recorded.incomplete)
    assert missing == (
        {part, "picture client_accuracies"} if part == "evaluation of each client" else {part}
    )
    run = place.run()
    assert run.info.status == "FINISHED"
    assert run.data.tags[INCOMPLETE].startswith(f"{part}: ValueError: it broke here and there")
    assert part == "report" or "it broke here" in (place.state.folder / "report.html").read_text()


def test_what_training_left_out_is_made_by_the_next_try(place: Trained) -> None:
    clients = place.state.folder / "lineage" / "clients.parquet"
    clients.unlink(missing_ok=True)
    trained = replace(
        place.trained,
        missing={"table of participation": "OSError: no", "lineage chain": "OSError: no"},
    )
    recorded = place.finish(trained)
    assert recorded.incomplete == {}
    assert clients.exists()
    assert {
        "lineage/clients.parquet",
        "lineage/weights.jsonl",
        "lineage/lineage.json",
    } <= place.artifacts("lineage")
    # The saved model and the registered version are those of the first try.
    assert (
        recorded.model_uri
        == f"models:/{json.loads((place.state.folder / 'model.json').read_text())['model_id']}"
    )
    assert len(place.store.client.search_logged_models([place.store.experiment_id])) == 1
    assert len(place.store.client.search_model_versions("name = 'digits'")) == 1


def test_an_upload_that_the_store_refuses_is_named_while_a_store_that_is_away_ends_the_step(
    place: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise TrackingError("no room for artifacts")

    parts = Parts(place.store)
    assert parts.attempt("upload", refuse) is None
    assert parts.missing["upload"].startswith("TrackingError: no room for artifacts")

    def away(_uri: str) -> None:
        raise TrackingError("away")

    monkeypatch.setattr("fedpipe.tracking.reach.probe", away)
    with pytest.raises(TrackingError, match="away"):
        parts.attempt("upload", refuse)
    with pytest.raises(KeyboardInterrupt):
        parts.attempt("upload", lambda: (_ for _ in ()).throw(KeyboardInterrupt))


def test_a_place_of_artifacts_that_cannot_be_written_is_no_store_that_is_away(
    place: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "fedpipe.figures.picture_file.write_picture", lambda _charts, path: write_atomic(path, "")
    )
    artifacts = place.project.root / "mlartifacts"
    artifacts.rename(artifacts.with_name("elsewhere"))
    artifacts.write_text("a file where a folder was")
    try:
        recorded = place.finish()
    finally:
        artifacts.unlink()
        artifacts.with_name("elsewhere").rename(artifacts)
    assert {"upload of rounds.csv", "picture confusion_matrix", "report"} <= set(
        recorded.incomplete
    )
    assert "cannot write artifacts to" in recorded.incomplete["upload of rounds.csv"]
    assert place.run().info.status == "FINISHED"


def test_the_commands_exit_with_3_and_name_what_is_missing(
    place: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.project.root)
    monkeypatch.setattr("fedpipe.runs.shards.ensure_shards", lambda _config, _project: place.data)
    with monkeypatch.context() as patch:
        patch.setattr("fedpipe.figures.learning_curves.learning_curves", fail)
        done = CliRunner().invoke(app, ["record", "trained"])
    assert done.exit_code == 3
    assert (
        "missing: picture learning_curves: ValueError: it broke here and there (test_parts.py"
        in done.stdout
    )
    assert f"uv run fedpipe record {place.trained.run_id}" in done.stdout
    done = CliRunner().invoke(app, ["resume"])  # makes up for it as well
    assert done.exit_code == 0, done.output
    assert "missing" not in done.stdout
    assert CliRunner().invoke(app, ["resume"]).stdout == "nothing to resume\n"


def test_a_run_that_could_not_print_its_summary_is_told_by_resume(
    place: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.project.root)
    monkeypatch.setattr("fedpipe.runs.shards.ensure_shards", lambda _config, _project: place.data)
    CliRunner().invoke(app, ["record", "trained", "--json"])
    place.state.values = json.loads((place.state.folder / "run_state.json").read_text())
    place.state.update(told=False)  # as a kill after the last step leaves it
    done = CliRunner().invoke(app, ["resume", "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout) == place.state.values["summary"]
    again = CliRunner().invoke(app, ["resume", "--json"])
    assert (again.exit_code, again.stdout) == (0, "{}\n")
    assert np.isfinite(json.loads(done.stdout)["final"]["test/loss"])
