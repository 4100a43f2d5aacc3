"""Step `record`: completes the MLflow run with the final model, pictures and figures, and marks it as finished."""

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from fedpipe.config import Config
from fedpipe.errors import DataError
from fedpipe.steps.files import write_atomic
from fedpipe.steps.project import Project
from fedpipe.steps.refs import DataRef, EvalRef, RecordRef, TrainRef

_TRAINING = ("train/", "validation/")
"""What was measured in training, and is said of the chosen round beside what the evaluation found."""


def record(config: Config, data: DataRef, trained: TrainRef, evaluated: EvalRef, project: Project) -> RecordRef:
    """Log what only the end of a run knows, and finish the run.

    Raises:
        TrackingError: the store cannot be written.
    """
    from fedpipe.data.population import Population
    from fedpipe.models import build_model
    from fedpipe.models.saved import InputFacts
    from fedpipe.models.weights_io import load_weights
    from fedpipe.report.evaluation_plots import client_accuracies, reliability_diagram
    from fedpipe.report.evaluation_tables import read_accuracies, read_reliability
    from fedpipe.report.plots import confusion_matrix, learning_curves
    from fedpipe.steps.describe import label_names, write_pictures, write_population
    from fedpipe.steps.register import register
    from fedpipe.steps.report import log_report
    from fedpipe.steps.report_facts import POPULATION_NAME, TIMING_NAME
    from fedpipe.tracking.model import log_model
    from fedpipe.tracking.run import TrackedRun
    from fedpipe.tracking.store import open_store

    run = TrackedRun.attach(open_store(project.root, config.tracking.experiment), trained.run_id)
    population = Population.open(Path(data.path), verify=False)
    model = build_model(config, tuple(population.manifest.feature_shape), population.manifest.num_classes, project.root)
    example = population.central_test().x[:2]
    chosen = trained.rounds if trained.best_round is None else trained.best_round
    about = InputFacts.of(population.manifest, model, config.data).to_json()
    model_id = log_model(run, model, load_weights(Path(trained.chosen)), example, round_num=chosen, about=about)
    rounds = Path(trained.rounds_table)
    rows = _rows(rounds)
    run.log_figure(learning_curves(rows), "plots/learning_curves.png")
    run.log_figure(confusion_matrix(np.array(evaluated.confusion), label_names(population)), "plots/confusion_matrix.png")
    run.log_figure(reliability_diagram(*read_reliability(Path(evaluated.reliability_table))), "plots/reliability.png")
    clients, run_dir = Path(evaluated.clients_table), Path(trained.run_dir)
    if clients.exists():
        run.log_figure(client_accuracies(*read_accuracies(clients)), "plots/client_accuracies.png")
    tables = (evaluated.metrics, evaluated.confusion_table, evaluated.labels_table, evaluated.reliability_table)
    seconds = {
        "data": data.seconds,
        "training (start of the runtime, rounds, evaluation)": trained.seconds,
        "evaluation": evaluated.seconds,
    }
    write_atomic(run_dir / TIMING_NAME, json.dumps(seconds, indent=1) + "\n")
    made = (write_population(population, run_dir / POPULATION_NAME), run_dir / TIMING_NAME, Path(evaluated.mistakes_table))
    for path in (rounds, *map(Path, tables), clients, *made, Path(data.path) / "manifest.json"):
        if path.exists():
            run.log_file(path, "tables")
    for picture in write_pictures(population, run_dir / "population"):
        run.log_file(picture, "plots")
    worker_log = run_dir / "worker.log"
    if worker_log.exists():
        run.log_file(worker_log, "logs")
    of_model = evaluated.final
    run.log_final_metrics(evaluated.final, model_id=None if evaluated.best else model_id)
    if evaluated.best is not None:
        in_training = {key: value for row in rows if row["round"] == chosen for key, value in row.items() if key.startswith(_TRAINING)}
        of_model = in_training | evaluated.best
        run.log_final_metrics(of_model, "best", model_id=model_id)
    registered = None
    if config.tracking.register:
        registered = register(config, population, model, run, model_id, of_model, run_dir, project)
    log_report(run, run_dir)
    run.finish()
    return RecordRef(trained.run_id, run.url, "uv run fedpipe ui", f"models:/{model_id}", registered)


@contextmanager
def failing_with_its_run(config: Config, trained: TrainRef, project: Project) -> Iterator[None]:
    """Mark the MLflow run as failed if the block, a later step of the same run, fails."""
    try:
        yield
    except BaseException as err:
        from fedpipe.tracking.run import TrackedRun
        from fedpipe.tracking.store import open_store

        run = TrackedRun.attach(open_store(project.root, config.tracking.experiment), trained.run_id)
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
        raise DataError(f"{folder}: expected a finished training, cannot read its run.json: {err}. Run `fedpipe train` first.") from err


def _rows(table: Path) -> list[dict[str, float]]:
    with table.open(encoding="utf-8", newline="") as file:
        return [{key.replace("_", "/", 1): float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]
