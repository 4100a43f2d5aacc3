"""Step `record`: completes the MLflow run with the final model, pictures and figures, and marks it
as finished.

Each of these is a part that may fail without the others (`fedpipe.runs.parts`). What fails is named
in the run's tag `fedpipe.incomplete`, in its report and in what this step returns. Made again, a
part replaces itself: the saved model is known by `model.json` in the run's folder and is not
written twice.
"""

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedpipe.config import Config
from fedpipe.errors import DataError, ModelError
from fedpipe.pipeline.run_warnings import WARNINGS, find_warnings
from fedpipe.pipeline.sample_clients import PLAN_NAME
from fedpipe.project.paths import Project
from fedpipe.runs.parts import CHAIN, INCOMPLETE, PARTICIPATION, UPLOADS, Parts, incomplete_text
from fedpipe.runs.provenance import LINEAGE, write_chain
from fedpipe.runs.refs import DataRef, EvalRef, RecordRef, RegisteredRef, TrainRef
from fedpipe.system.atomic_files import write_atomic

if TYPE_CHECKING:
    from fedpipe.data.population import Population
    from fedpipe.models import ModelSpec
    from fedpipe.tracking.run import TrackedRun

MODEL = "saved model"
FIGURES = "final figures"
REGISTERED = "registered model"
REPORT = "report"
"""Names of parts. Pictures are called `picture NAME`, uploaded files `upload of NAME`."""
_MODEL_FILE = "model.json"
_SECOND_WAIT = 5.0
"""Seconds that what training could not send is tried again."""
_TRAINING = ("train/", "validation/")
"""What was measured in training, and is said of the chosen round beside what the evaluation
found.
"""


def record(
    config: Config, data: DataRef, trained: TrainRef, evaluated: EvalRef, project: Project
) -> RecordRef:
    """Log what only the end of a run knows, and finish the run.

    Raises:
        TrackingError: the store cannot be reached or written: `fedpipe resume` does this step
            again.
    """
    from fedpipe.registry.register import register
    from fedpipe.report.write import log_report
    from fedpipe.tracking.run import TrackedRun
    from fedpipe.tracking.store import open_store

    store = open_store(project.root, config.tracking.experiment, artifacts_needed=False)
    run = TrackedRun.attach(store, trained.run_id)
    run_dir = Path(trained.run_dir)
    parts = Parts(store, trained.missing | evaluated.missing)

    @cache
    def population() -> "Population":
        from fedpipe.data.population import Population

        return Population.open(Path(data.path), verify=False)

    @cache
    def model() -> "ModelSpec":
        from fedpipe.models import build_model

        manifest = population().manifest
        return build_model(
            config, tuple(manifest.feature_shape), manifest.num_classes, project.root
        )

    _record_training(config, parts, run, trained, population)
    model_id = parts.attempt(MODEL, lambda: _log_model(config, run, trained, population(), model()))
    _log_pictures(parts, run, trained, evaluated, population)
    _log_tables(parts, run, data, trained, evaluated, population)
    of_model = parts.attempt(FIGURES, lambda: _log_figures(run, trained, evaluated, model_id))

    def register_model() -> RegisteredRef | None:
        if model_id is None or of_model is None:
            raise ModelError(f"it needs the {MODEL} and the {FIGURES}, of which one is missing")
        return register(config, population(), model(), run, model_id, of_model, run_dir, project)

    registered = parts.attempt(REGISTERED, register_model) if config.tracking.register else None
    warnings = (
        parts.attempt("warnings", lambda: find_warnings(trained, evaluated, population)) or []
    )
    _tag(run, WARNINGS, "\n".join(map(str, warnings)))
    _tag(run, INCOMPLETE, incomplete_text(parts.missing))
    named = dict(parts.missing)
    parts.attempt(REPORT, lambda: log_report(run, run_dir))
    if parts.missing != named:
        _tag(run, INCOMPLETE, incomplete_text(parts.missing))
    run.finish()
    return RecordRef(
        run_id=trained.run_id,
        url=run.url,
        open_with="uv run fedpipe ui",
        model_uri=None if model_id is None else f"models:/{model_id}",
        registered=registered,
        incomplete=parts.missing,
        warnings=tuple(asdict(warning) for warning in warnings),
    )


def _record_training(
    config: Config,
    parts: Parts,
    run: "TrackedRun",
    trained: TrainRef,
    population: Callable[[], "Population"],
) -> None:
    """Make what training could not leave behind after its last round."""
    from fedpipe.tracking.journal import send_journal

    run_dir = Path(trained.run_dir)
    folder = run_dir / LINEAGE
    if UPLOADS in trained.missing:
        parts.attempt(
            UPLOADS,
            lambda: send_journal(
                run.store, run.run_id, run_dir, min(config.tracking.wait_seconds, _SECOND_WAIT)
            ),
        )
    if PARTICIPATION in trained.missing:
        parts.attempt(
            PARTICIPATION, lambda: _write_participation(config, run, trained, population())
        )
    if CHAIN in trained.missing:
        parts.attempt(
            CHAIN,
            lambda: run.log_file(
                write_chain(folder, run.run_id, run.store.label, trained.weights_sha256), LINEAGE
            ),
        )


def _write_participation(
    config: Config, run: "TrackedRun", trained: TrainRef, population: "Population"
) -> None:
    from fedpipe.runs.history import History
    from fedpipe.types import CohortPlan

    run_dir = Path(trained.run_dir)
    cohorts = CohortPlan.from_json((run_dir / PLAN_NAME).read_text(encoding="utf-8"))
    history = History(run_dir / LINEAGE, cohorts, config.client, population.num_examples)
    try:
        history.write_clients()
    finally:
        history.close()
    for path in (history.weights_path, history.clients_path):
        run.log_file(path, LINEAGE)


def _log_model(
    config: Config,
    run: "TrackedRun",
    trained: TrainRef,
    population: "Population",
    model: "ModelSpec",
) -> str:
    """Return the id of the saved model: the one that an earlier try of this step wrote to the same
    store, or a new one.
    """
    from fedpipe.models.saved import InputFacts
    from fedpipe.models.weights_io import load_weights
    from fedpipe.tracking.model import has_model, log_model
    from fedpipe.types import weights_sha256

    path = Path(trained.run_dir) / _MODEL_FILE
    weights = load_weights(Path(trained.chosen))
    identity = {"run_id": run.run_id, "weights_sha256": weights_sha256(weights)}
    if path.exists():
        earlier = json.loads(path.read_text(encoding="utf-8"))
        if identity.items() <= earlier.items() and has_model(run.store, str(earlier["model_id"])):
            return str(earlier["model_id"])
    example = population.central_test().x[:2]
    about = InputFacts.of(population.manifest, model, config.data).to_json()
    model_id = log_model(run, model, weights, example, round_num=trained.chosen_round, about=about)
    write_atomic(path, json.dumps(identity | {"model_id": model_id}) + "\n")
    return model_id


def _log_pictures(
    parts: Parts,
    run: "TrackedRun",
    trained: TrainRef,
    evaluated: EvalRef,
    population: Callable[[], "Population"],
) -> None:
    from fedpipe.figures.confusion_matrix import confusion_matrix
    from fedpipe.figures.evaluation_charts import client_accuracies, reliability_diagram
    from fedpipe.figures.learning_curves import learning_curves
    from fedpipe.pipeline.describe import label_names, write_pictures
    from fedpipe.runs.pictures import log_picture
    from fedpipe.tables.confusion import read_confusion
    from fedpipe.tables.evaluation import accuracy_groups, read_clients, read_reliability

    run_dir = Path(trained.run_dir)

    def confusion() -> Any:
        names = label_names(population())
        counts = read_confusion(Path(evaluated.confusion_counts), names)
        return [confusion_matrix(counts, names)]

    pictures: dict[str, Callable[[], Any]] = {
        "learning_curves": lambda: learning_curves(_rows(Path(trained.rounds_table))),
        "confusion_matrix": confusion,
        "reliability": lambda: reliability_diagram(
            *read_reliability(Path(evaluated.reliability_table))
        ),
        "client_accuracies": lambda: client_accuracies(
            *accuracy_groups(read_clients(Path(evaluated.clients_table)))
        ),
    }
    for name, draw in pictures.items():
        parts.attempt(
            f"picture {name}",
            lambda draw=draw, name=name: log_picture(run, draw(), f"plots/{name}.svg", run_dir),  # type: ignore[misc]
        )

    def log_population() -> None:
        for picture in write_pictures(population(), run_dir / "population"):
            run.log_file(picture, "plots")

    parts.attempt("pictures of the population", log_population)


def _log_tables(
    parts: Parts,
    run: "TrackedRun",
    data: DataRef,
    trained: TrainRef,
    evaluated: EvalRef,
    population: Callable[[], "Population"],
) -> None:
    from fedpipe.pipeline.describe import write_population
    from fedpipe.report.gather import POPULATION_NAME, TIMING_NAME

    run_dir = Path(trained.run_dir)
    seconds = {
        "data": data.seconds,
        "training (start of the runtime, rounds, evaluation)": trained.seconds,
        "evaluation": evaluated.seconds,
    }
    timing = run_dir / TIMING_NAME
    parts.attempt(
        f"table {TIMING_NAME}", lambda: write_atomic(timing, json.dumps(seconds, indent=1) + "\n")
    )
    parts.attempt(
        f"table {POPULATION_NAME}",
        lambda: write_population(population(), run_dir / POPULATION_NAME),
    )
    tables = (
        *(
            evaluated.metrics,
            evaluated.confusion_table,
            evaluated.confusion_counts,
            evaluated.labels_table,
        ),
        *(evaluated.reliability_table, evaluated.clients_table, evaluated.mistakes_table),
    )
    made = (
        Path(trained.rounds_table),
        *map(Path, tables),
        run_dir / POPULATION_NAME,
        timing,
        Path(data.path) / "manifest.json",
    )
    logs = (run_dir / "worker.log",)
    for folder, paths in (("tables", made), ("logs", logs)):
        for path in paths:
            if path.exists():
                parts.attempt(
                    f"upload of {path.name}",
                    lambda path=path, folder=folder: run.log_file(path, folder),  # type: ignore[misc]
                )


def _log_figures(
    run: "TrackedRun", trained: TrainRef, evaluated: EvalRef, model_id: str | None
) -> dict[str, float]:
    """Write the final figures, and those of the best weights; return those of the model that the
    run results in.
    """
    run.log_final_metrics(evaluated.final, model_id=None if evaluated.best else model_id)
    if evaluated.best is None:
        return evaluated.final
    rows = _rows(Path(trained.rounds_table))
    row = next((row for row in rows if row["round"] == trained.chosen_round), {})
    of_model = {
        key: value for key, value in row.items() if key.startswith(_TRAINING)
    } | evaluated.best
    run.log_final_metrics(of_model, "best", model_id=model_id)
    return of_model


def _tag(run: "TrackedRun", key: str, text: str) -> None:
    """Set a tag, or remove it where there is nothing to say."""
    if text:
        run.set_tags({key: text})
    else:
        run.remove_tag(key)


@contextmanager
def failing_with_its_run(config: Config, trained: TrainRef, project: Project) -> Iterator[None]:
    """Mark the MLflow run as failed if the block, a later step of the same run, fails."""
    try:
        yield
    except BaseException as err:
        from fedpipe.tracking.run import TrackedRun
        from fedpipe.tracking.store import open_store

        run = TrackedRun.attach(
            open_store(project.root, config.tracking.experiment, artifacts_needed=False),
            trained.run_id,
        )
        run.fail(f"{type(err).__name__}: {err}", killed=not isinstance(err, Exception))
        raise


def read_trained(folder: Path) -> TrainRef:
    """Return what DVC's stage `train` left in `folder`, with the paths of its copies there.

    Raises:
        DataError: the folder does not hold a finished training.
    """
    try:
        values = json.loads((folder / "run.json").read_text(encoding="utf-8"))
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
