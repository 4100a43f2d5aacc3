"""Step `predict`: predicts labels or numbers of a user's examples with a recorded model."""

import logging
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedpipe.config import load_config
from fedpipe.config.task import TaskKind
from fedpipe.errors import DataError
from fedpipe.inference.input_reader import Reader
from fedpipe.inference.predictions import Example, predictions_of
from fedpipe.project.paths import Project

if TYPE_CHECKING:
    from fedpipe.tracking.fetch import FetchedModel

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """All predictions of a model.

    Attributes:
        model: `NAME/VERSION @alias`, or `run ID`.
        run_id: the run that trained it.
        kind: of the task.
        predictions: in the order of files and rows; their class follows from the kind.
    """

    model: str
    run_id: str
    kind: TaskKind
    predictions: Sequence[Example]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return asdict(self)


def predict(project: Project, name: str, files: Sequence[Path], invert: bool = False) -> Answer:
    """Return the predictions of a model for the examples in the files.

    A model that predicts after each token is asked after the last one. A model that was trained on
    clients that are forgotten answers with a warning.

    Args:
        project: has the store; its settings count where a model does not name how its training
            data were read.
        name: of the model, as `tracking.fetch.fetch_model` takes it.
        files: images, folders of images, tables (CSV, Parquet), NPZ files, files of the model's own
            source, shards.
        invert: turn dark into light, for drawings of the other convention than the model's training
            data.

    Raises:
        TrackingError: there is no such model.
        DataError: a file does not exist, or its examples are not input of the model.
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
        fetched = fetch_model(read_store(project.root), name, Path(scratch))
        warn_if_forgotten(fetched)
        model = SavedClassifier.load(fetched.saved_model, fetched.label)
        reader = Reader(
            fetched.facts,
            model.shape,
            model.dtype == np.int32,
            data,
            invert,
            project=project.root,
            num_classes=model.num_classes,
        )
        predictions: list[Example] = []
        for batch in reader.batches(files):
            predictions += predictions_of(model.predict(batch.x), batch, fetched.facts)
    return Answer(fetched.label, fetched.run_id, fetched.facts.kind, predictions)


def warn_if_forgotten(fetched: "FetchedModel") -> None:
    """Warn if a registered version was trained on clients that were forgotten since."""
    from fedpipe.lineage.forgotten_versions import forgotten_of

    if fetched.version and (clients := forgotten_of(fetched.version)):
        logger.warning(
            "%s trained on the data of %d clients that are forgotten since. `fedpipe forget ID "
            "--retrain --model %s` trains the champion again without them.",
            fetched.label,
            len(clients),
            shlex.quote(fetched.version.name),
        )
