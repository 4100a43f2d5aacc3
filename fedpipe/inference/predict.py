"""Step `predict`: what a recorded model says of the examples in a user's files."""

import logging
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedpipe.config import load_config
from fedpipe.errors import DataError
from fedpipe.inference.input_reader import Reader
from fedpipe.project.paths import Project

if TYPE_CHECKING:
    from fedpipe.tracking.fetch import FetchedModel

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """What the model says of one example.

    Attributes:
        file: as it was named.
        row: number of the example in a table, from 0; None of an image.
        label: name of the most probable class; its number where classes have no names.
        number: its number.
        probability: its probability.
        probabilities: of all classes.
    """

    file: str
    row: int | None
    label: str
    number: int
    probability: float
    probabilities: list[float]


@dataclass(frozen=True)
class Answer:
    """All predictions, and whose.

    Attributes:
        model: `NAME/VERSION @alias`, or `run ID`.
        run_id: the run that trained it.
        predictions: in the order of files and rows.
    """

    model: str
    run_id: str
    predictions: list[Prediction]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return asdict(self)


def predict(project: Project, wanted: str, files: Sequence[Path], invert: bool = False) -> Answer:
    """Return what the model that `wanted` names (see `tracking.fetch.fetch_model`) says of the
    examples in the files.

    Of a model that predicts after each token it is what follows the last one. A model that trained
    on clients that are forgotten answers with a warning.

    Args:
        project: has the store; its settings count where a model does not say how its training data
            were read.
        wanted: `MODEL@ALIAS`, `MODEL/VERSION` or a run.
        files: images, folders of images, tables (CSV, Parquet), NPZ files, files of the model's own
            source, shards.
        invert: turn dark into light, for drawings of the other convention than the model's training
            data.

    Raises:
        TrackingError: there is no such model.
        DataError: a file is not there, or holds other examples than the model takes.
    """
    from fedpipe.models.saved import SavedClassifier
    from fedpipe.tracking.fetch import fetch_model
    from fedpipe.tracking.store import read_store

    if not files:
        raise DataError(
            "predict: expected files, found none. Name at least one: an image, a table, an array."
        )
    data = load_config(project.params).data
    with tempfile.TemporaryDirectory(prefix="fedpipe-model-") as scratch:
        fetched = fetch_model(read_store(project.root), wanted, Path(scratch))
        warn_if_forgotten(fetched)
        model = SavedClassifier.load(fetched.saved_model, fetched.label)
        tokens = model.dtype == np.int32
        reader = Reader(
            fetched.facts, model.shape, tokens, data, invert, project.root, model.num_classes
        )
        labels = fetched.facts.labels or tuple(map(str, range(model.num_classes)))
        predictions = []
        for part in reader.parts(list(files)):
            found = model.predict(part.x)
            if found.ndim == 3:
                last = np.maximum((part.x != 0).sum(axis=1) - 1, 0)
                found = found[np.arange(len(found)), last]
            for number, probabilities in enumerate(found):
                row = None if part.first_row is None else part.first_row + number
                best = int(probabilities.argmax())
                label = labels[best] if best < len(labels) else str(best)
                predictions.append(
                    Prediction(
                        str(part.file),
                        row,
                        label,
                        best,
                        float(probabilities[best]),
                        probabilities.tolist(),
                    )
                )
    return Answer(fetched.label, fetched.run_id, predictions)


def warn_if_forgotten(fetched: "FetchedModel") -> None:
    """Warn that a registered version trained on clients that are forgotten since, if it did."""
    from fedpipe.lineage.queries import forgotten_of

    clients = forgotten_of(fetched.version) if fetched.version else ()
    if fetched.version and clients:
        logger.warning(
            "%s trained on the data of %d clients that are forgotten since. `fedpipe forget ID "
            "--retrain --model %s` trains the champion again without them.",
            fetched.label,
            len(clients),
            shlex.quote(fetched.version.name),
        )
