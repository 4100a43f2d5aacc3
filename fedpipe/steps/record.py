"""Step `record`: completes the MLflow run with the final model, pictures and figures, and marks it as finished."""

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from fedpipe.config import Config
from fedpipe.errors import DataError
from fedpipe.steps.project import Project
from fedpipe.steps.refs import DataRef, EvalRef, RecordRef, TrainRef


def record(config: Config, data: DataRef, trained: TrainRef, evaluated: EvalRef, project: Project) -> RecordRef:
    """Log what only the end of a run knows, and finish the run.

    Raises:
        TrackingError: the store cannot be written.
    """
    from fedpipe.data.population import Population
    from fedpipe.models import build_model
    from fedpipe.models.weights_io import load_weights
    from fedpipe.report.plots import confusion_matrix, learning_curves
    from fedpipe.steps.describe import label_names, write_pictures
    from fedpipe.tracking.model import log_model
    from fedpipe.tracking.run import TrackedRun
    from fedpipe.tracking.store import open_store

    run = TrackedRun.attach(open_store(project.root, config.tracking.experiment), trained.run_id)
    population = Population.open(Path(data.path), verify=False)
    model = build_model(config, tuple(population.manifest.feature_shape), population.manifest.num_classes)
    example = population.central_test().x[:2]
    model_id = log_model(run, model, load_weights(Path(trained.final_weights)), example, round_num=trained.rounds)
    rounds = Path(trained.rounds_table)
    run.log_figure(learning_curves(_rows(rounds)), "plots/learning_curves.png")
    run.log_figure(confusion_matrix(np.array(evaluated.confusion), label_names(population)), "plots/confusion_matrix.png")
    for path in (rounds, Path(evaluated.metrics), Path(evaluated.confusion_table), Path(data.path) / "manifest.json"):
        run.log_file(path, "tables")
    for picture in write_pictures(population, Path(trained.run_dir) / "population"):
        run.log_file(picture, "plots")
    worker_log = Path(trained.run_dir) / "worker.log"
    if worker_log.exists():
        run.log_file(worker_log, "logs")
    run.log_final_metrics(evaluated.final)
    run.finish()
    return RecordRef(trained.run_id, run.url, "uv run fedpipe ui", f"models:/{model_id}")


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
        for key in ("initial_weights", "final_weights", "rounds_table"):
            values[key] = str(folder / Path(values[key]).name)
        return TrainRef(**values)
    except (OSError, ValueError, TypeError, KeyError) as err:
        raise DataError(f"{folder}: expected a finished training, cannot read its run.json: {err}. Run `fedpipe train` first.") from err


def _rows(table: Path) -> list[dict[str, float]]:
    with table.open(encoding="utf-8", newline="") as file:
        return [{key.replace("_", "/", 1): float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]
