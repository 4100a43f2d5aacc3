"""Step `evaluate`: the weights before and after training on the central test set, in this process."""

import json
import time
from pathlib import Path

from fedpipe.config import Config
from fedpipe.steps.files import write_atomic
from fedpipe.steps.refs import DataRef, EvalRef, TrainRef


def evaluate(config: Config, data: DataRef, trained: TrainRef, out: Path) -> EvalRef:
    """Evaluate both weights and write `metrics.json` and `confusion.csv` to the folder `out`.

    Raises:
        ModelError: a weights file is damaged or does not fit the model.
        DataError: the shards cannot be read.
    """
    from fedpipe.data.population import Population
    from fedpipe.models import build_model
    from fedpipe.models.evaluate import Evaluator
    from fedpipe.models.weights_io import load_weights
    from fedpipe.report.tables import confusion_csv
    from fedpipe.steps.describe import label_names

    start = time.perf_counter()
    population = Population.open(Path(data.path), verify=False)
    model = build_model(config, tuple(population.manifest.feature_shape), population.manifest.num_classes)
    evaluator = Evaluator(model, population.central_test())
    before = evaluator.evaluate(load_weights(Path(trained.initial_weights)))
    after = evaluator.evaluate(load_weights(Path(trained.final_weights)))
    figures = {
        name: {"test/loss": result.loss, "test/accuracy": result.accuracy} for name, result in (("initial", before), ("final", after))
    }
    write_atomic(out / "metrics.json", json.dumps(figures, indent=1) + "\n")
    write_atomic(out / "confusion.csv", confusion_csv(after.confusion, label_names(population)))
    seconds = time.perf_counter() - start
    return EvalRef(
        metrics=str(out / "metrics.json"),
        confusion_table=str(out / "confusion.csv"),
        confusion=after.confusion.tolist(),
        initial=figures["initial"],
        final=figures["final"],
        seconds=seconds,
    )
