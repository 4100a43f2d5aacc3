"""Step `record`: completes the MLflow run with the final model, pictures and figures, and marks it
as finished.

Each of these is a part that may fail without the others (`fedpipe.runs.optional_parts`). What fails
is named in the run's tag `fedpipe.incomplete`, in its report and in what this step returns. Made
again, a part replaces itself: the saved model is known by `model.json` in the run's folder and is
not written twice.
"""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedpipe.errors import DataError, ModelError
from fedpipe.pipeline.run_warnings import RunWarning, find_warnings
from fedpipe.pipeline.sample_clients import PLAN_NAME
from fedpipe.runs.context import WORKER_LOG_NAME, RunContext
from fedpipe.runs.lineage import LINEAGE, write_lineage
from fedpipe.runs.optional_parts import LINEAGE_PART, PARTICIPATION, UPLOADS, Parts, incomplete_text
from fedpipe.runs.step_results import (
    TRAINED_NAME,
    DataRef,
    EvalRef,
    RecordRef,
    RegisteredRef,
    TrainRef,
)
from fedpipe.system.atomic_files import write_atomic
from fedpipe.tracking.tags import INCOMPLETE, WARNINGS

if TYPE_CHECKING:
    from fedpipe.data.population import Population
    from fedpipe.figures.svg import Chart
    from fedpipe.models import ModelSpec
    from fedpipe.tables.kinds import KindTables
    from fedpipe.tracking.run import TrackedRun

MODEL = "saved model"
FIGURES = "final figures"
REGISTERED = "registered model"
REPORT = "report"
"""Names of parts. Pictures are called `picture NAME`, uploaded files `upload of NAME`."""
_MODEL_FILE = "model.json"
_PICTURES = "plots"
"""Folder of the pictures, in the run's folder and among its artifacts."""
_SECOND_WAIT = 5.0
"""Seconds that what training could not send is tried again."""
_TRAINING = ("train/", "validation/")
"""What was measured in training, and is said of the chosen round beside what the evaluation
found.
"""


def record(run: RunContext, data: DataRef, trained: TrainRef, evaluated: EvalRef) -> RecordRef:
    """Log what only the end of a run knows, and finish the run.

    Raises:
        TrackingError: the store cannot be reached or written: `fedpipe resume` does this step
            again.
    """
    from fedpipe.report.write import log_report
    from fedpipe.tracking.run import TrackedRun
    from fedpipe.tracking.store import open_store

    store = open_store(run.project.root, run.config.tracking.experiment, artifacts_needed=False)
    mlflow_run = TrackedRun.attach(store, trained.run_id)
    parts = Parts(store, trained.missing | evaluated.missing)
    recording = _Recording(run, data, trained, evaluated, mlflow_run, parts)
    recording.complete_training()
    model_id = parts.attempt(MODEL, recording.log_model)
    recording.log_pictures()
    recording.log_tables()
    of_model = parts.attempt(FIGURES, lambda: recording.log_figures(model_id))
    registered = None
    if run.config.tracking.register:
        registered = parts.attempt(REGISTERED, lambda: recording.register(model_id, of_model))
    warnings = parts.attempt("warnings", recording.find_warnings) or []
    _tag(mlflow_run, WARNINGS, "\n".join(map(str, warnings)))
    _tag(mlflow_run, INCOMPLETE, incomplete_text(parts.missing))
    named = dict(parts.missing)
    parts.attempt(REPORT, lambda: log_report(mlflow_run, recording.folder))
    if parts.missing != named:
        _tag(mlflow_run, INCOMPLETE, incomplete_text(parts.missing))
    mlflow_run.finish()
    return RecordRef(
        run_id=trained.run_id,
        url=mlflow_run.url,
        open_with="uv run fedpipe ui",
        model_uri=None if model_id is None else f"models:/{model_id}",
        registered=registered,
        incomplete=parts.missing,
        warnings=tuple(asdict(warning) for warning in warnings),
    )


@dataclass(frozen=True)
class _Recording:
    """Makes the parts of a trained run, each from the files of the run and its data."""

    run: RunContext
    data: DataRef
    trained: TrainRef
    evaluated: EvalRef
    mlflow_run: "TrackedRun"
    parts: Parts

    @property
    def folder(self) -> Path:
        return Path(self.trained.run_dir)

    @cached_property
    def population(self) -> "Population":
        from fedpipe.data.population import Population

        return Population.open(Path(self.data.path), verify=False)

    @cached_property
    def model(self) -> "ModelSpec":
        from fedpipe.models import build_model

        manifest = self.population.manifest
        shape = tuple(manifest.feature_shape)
        return build_model(
            self.run.config, shape, manifest.outputs, self.run.project.root, manifest.tokens
        )

    def complete_training(self) -> None:
        """Make what training could not leave behind after its last round."""
        makers = {
            UPLOADS: self._send_journal,
            PARTICIPATION: self._write_participation,
            LINEAGE_PART: self._write_lineage,
        }
        for name, make in makers.items():
            if name in self.trained.missing:
                self.parts.attempt(name, make)

    def _send_journal(self) -> None:
        from fedpipe.tracking.journal import send_journal

        seconds = min(self.run.config.tracking.wait_seconds, _SECOND_WAIT)
        send_journal(self.mlflow_run.store, self.mlflow_run.run_id, self.folder, seconds)

    def _write_participation(self) -> None:
        from fedpipe.runs.history import History
        from fedpipe.types import CohortPlan

        cohorts = CohortPlan.from_json((self.folder / PLAN_NAME).read_text(encoding="utf-8"))
        history = History(
            self.folder / LINEAGE, cohorts, self.run.config.client, self.population.num_examples
        )
        try:
            history.write_clients()
        finally:
            history.close()
        for path in (history.weights_path, history.clients_path):
            self.mlflow_run.log_file(path, LINEAGE)

    def _write_lineage(self) -> None:
        mlflow_run = self.mlflow_run
        path = write_lineage(
            self.folder / LINEAGE,
            mlflow_run.run_id,
            mlflow_run.store.label,
            self.trained.weights_sha256,
        )
        mlflow_run.log_file(path, LINEAGE)

    def log_model(self) -> str:
        """Return the id of the saved model: the one that an earlier try of this step wrote to the
        same store, or a new one.
        """
        from fedpipe.models.input_facts import InputFacts
        from fedpipe.models.weights_io import load_weights
        from fedpipe.tracking.model import has_model, log_model
        from fedpipe.types import weights_sha256

        path = self.folder / _MODEL_FILE
        weights = load_weights(Path(self.trained.result_weights))
        identity = {"run_id": self.mlflow_run.run_id, "weights_sha256": weights_sha256(weights)}
        if path.exists():
            earlier = json.loads(path.read_text(encoding="utf-8"))
            known_id = str(earlier["model_id"])
            if identity.items() <= earlier.items() and has_model(self.mlflow_run.store, known_id):
                return known_id
        model_id = log_model(
            self.mlflow_run,
            self.model,
            weights,
            self.population.central_test().x[:2],
            round_num=self.trained.result_round,
            kind=self.run.config.task.kind,
            steps=self.population.manifest.steps,
            about=InputFacts.of(
                self.population.manifest, self.model, self.run.config.data
            ).to_json(),
        )
        write_atomic(path, json.dumps(identity | {"model_id": model_id}) + "\n")
        return model_id

    def log_pictures(self) -> None:
        """Draw the pictures of the rounds, of the evaluation and of the population."""
        from fedpipe.figures.confusion_matrix import confusion_matrix
        from fedpipe.figures.evaluation_charts import client_values, reliability_diagram
        from fedpipe.figures.kind_charts import KIND_PICTURES, kind_charts
        from fedpipe.figures.learning_curves import learning_curves
        from fedpipe.models.input_facts import shown_names
        from fedpipe.runs.pictures import log_picture
        from fedpipe.tables.confusion import read_confusion
        from fedpipe.tables.evaluation import read_clients, read_reliability
        from fedpipe.tables.shown_task import ShownTask

        evaluated = self.evaluated
        task = ShownTask.of(self.run.config.task)
        names = shown_names(self.population.manifest)

        def confusion() -> "list[Chart]":
            counts = read_confusion(Path(evaluated.confusion_counts), names)
            return [confusion_matrix(counts, names)]

        def clients() -> "list[Chart]":
            values = read_clients(Path(evaluated.clients_table))
            return client_values(values.metric, *values.groups())

        pictures: dict[str, Callable[[], list[Chart]]] = {
            "learning_curves": lambda: learning_curves(
                _rows(Path(self.trained.rounds_table)), task
            ),
        }
        if task.has_classes:
            pictures["confusion_matrix"] = confusion
            pictures["reliability"] = lambda: reliability_diagram(
                *read_reliability(Path(evaluated.reliability_table))
            )
        pictures |= {
            picture: lambda picture=picture: kind_charts(  # type: ignore[misc]
                picture, self.kind_tables, names
            )
            for picture in KIND_PICTURES[task.kind]
        }
        metrics = "accuracies" if task.metric == "accuracy" else "scores"
        pictures[f"client_{metrics}"] = clients

        def draw_and_log(name: str) -> None:
            log_picture(self.mlflow_run, pictures[name](), f"{_PICTURES}/{name}.svg", self.folder)

        for name in pictures:
            self.parts.attempt(f"picture {name}", partial(draw_and_log, name))
        self.parts.attempt("pictures of the population", self._log_population)

    @cached_property
    def kind_tables(self) -> "KindTables":
        from fedpipe.tables.kinds import KindTables, read_kind_table

        tables: dict[str, Any] = {}
        for path in map(Path, self.evaluated.kind_tables):
            tables |= read_kind_table(path.name, path)
        return KindTables(**tables)

    def _log_population(self) -> None:
        from fedpipe.pipeline.describe import write_pictures

        for picture in write_pictures(self.population, self.folder / "population"):
            self.mlflow_run.log_file(picture, "plots")

    def log_tables(self) -> None:
        """Write what only this step knows, then log the tables of the run and its logs."""
        from fedpipe.pipeline.describe import write_population
        from fedpipe.report.gather import POPULATION_NAME, TIMING_NAME

        evaluated = self.evaluated
        seconds = {
            "data": self.data.seconds,
            "training (start of the runtime, rounds, evaluation)": self.trained.seconds,
            "evaluation": evaluated.seconds,
        }
        timing = self.folder / TIMING_NAME
        population = self.folder / POPULATION_NAME
        self.parts.attempt(
            f"table {TIMING_NAME}",
            lambda: write_atomic(timing, json.dumps(seconds, indent=1) + "\n"),
        )
        self.parts.attempt(
            f"table {POPULATION_NAME}", lambda: write_population(self.population, population)
        )
        tables = [
            Path(self.trained.rounds_table),
            *map(Path, evaluated.tables),
            Path(evaluated.mistakes_table),
            population,
            timing,
            Path(self.data.path) / "manifest.json",
        ]
        files = [(path, "tables") for path in tables] + [(self.folder / WORKER_LOG_NAME, "logs")]
        for path, folder in files:
            if path.exists():
                upload = partial(self.mlflow_run.log_file, path, folder)
                self.parts.attempt(f"upload of {path.name}", upload)

    def log_figures(self, model_id: str | None) -> dict[str, float]:
        """Write the final figures, and those of the best weights; return those of the model that
        the run results in.
        """
        final = self.evaluated.final
        best = self.evaluated.best
        self.mlflow_run.log_final_metrics(final, model_id=None if best else model_id)
        if best is None:
            return final
        rows = {row["round"]: row for row in _rows(Path(self.trained.rounds_table))}
        row = rows.get(self.trained.result_round, {})
        of_training = {key: row[key] for key in row if key.startswith(_TRAINING)}
        of_model = of_training | best
        self.mlflow_run.log_final_metrics(of_model, "best", model_id=model_id)
        return of_model

    def register(
        self, model_id: str | None, of_model: dict[str, float] | None
    ) -> RegisteredRef | None:
        """Register the saved model; `of_model` are its figures."""
        from fedpipe.registry.register import register

        if model_id is None or of_model is None:
            raise ModelError(f"it needs the {MODEL} and the {FIGURES}, of which one is missing")
        return register(
            self.mlflow_run,
            model_id,
            of_model,
            config=self.run.config,
            population=self.population,
            model=self.model,
            run_dir=self.folder,
            project=self.run.project,
        )

    def find_warnings(self) -> list[RunWarning]:
        """Return what makes the result doubtful."""
        kind = self.run.config.task.kind
        return find_warnings(self.trained, self.evaluated, lambda: self.population, kind)


def _tag(mlflow_run: "TrackedRun", key: str, text: str) -> None:
    """Set a tag, or remove it where the text is empty."""
    if text:
        mlflow_run.set_tags({key: text})
    else:
        mlflow_run.remove_tag(key)


def copy_pictures(folder: Path, out: Path) -> None:
    """Copy the pictures of the run in `folder` to the folder `out`, where DVC's plots show them; no
    others are left there.
    """
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for picture in sorted((folder / _PICTURES).glob("*.svg")):
        shutil.copyfile(picture, out / picture.name)


def read_trained(folder: Path) -> TrainRef:
    """Return what DVC's stage `train` left in `folder`, with the paths of its copies there.

    Raises:
        DataError: the folder does not hold a finished training.
    """
    try:
        values = json.loads((folder / TRAINED_NAME).read_text(encoding="utf-8"))
        for key in ("initial_weights", "final_weights", "best_weights", "rounds_table"):
            values[key] = values[key] and str(folder / Path(values[key]).name)
        return TrainRef(**values)
    except (OSError, ValueError, TypeError, KeyError) as err:
        raise DataError(
            f"{folder}: expected a finished training, cannot read its run.json: {err}. Run "
            "`fedpipe train` first."
        ) from err


def _rows(table: Path) -> list[dict[str, float]]:
    with table.open(encoding="utf-8", newline="") as file:
        return [
            {key.replace("_", "/", 1): float(value) for key, value in row.items() if value}
            for row in csv.DictReader(file)
        ]
