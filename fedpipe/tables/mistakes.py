"""Images of a report's worst pairs: examples of the central test set that the model took for
another class.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedpipe.models.confusion import Confusion
from fedpipe.tasks import Predictions
from fedpipe.types import Examples

MOST_PAIRS = 6
"""Pairs of classes of which images are kept: those that are confused most often."""
IMAGES_PER_PAIR = 6
_LARGEST_SIDE = 256
"""Pixels: larger images are no thumbnails."""


@dataclass(frozen=True)
class Mistake:
    """One example that was taken for another class.

    Attributes:
        actual: name of its label.
        predicted: name of the predicted class.
        confidence: probability that the model gave to the predicted class, in 0..1.
        pixels: uint8 or float32 [height, width] or [height, width, channels].
    """

    actual: str
    predicted: str
    confidence: float
    pixels: npt.NDArray[np.generic]


def is_image(shape: tuple[int, ...], dtype: str) -> bool:
    """Return whether features of this shape and dtype are images small enough to show: grey or in
    three colours.

    >>> is_image((28, 28), "uint8"), is_image((32, 32, 3), "float32")
    (True, True)
    >>> is_image((784,), "uint8"), is_image((80, 1), "int32")
    (False, False)
    """
    if dtype not in ("uint8", "float32") or len(shape) not in (2, 3):
        return False
    if not 2 <= min(shape[:2]) <= max(shape[:2]) <= _LARGEST_SIDE:
        return False
    return len(shape) == 2 or shape[2] in (1, 3)


def choose_mistakes(predictions: Predictions, classes: int) -> npt.NDArray[np.int64]:
    """Return which predictions to show: of each of the worst pairs those of which the model was
    surest.

    Args:
        predictions: one for each example.
        classes: number of classes.

    Returns:
        int64 [mistakes], positions in `predictions`, pair by pair.
    """
    confusion = Confusion.count(predictions.labels, predictions.predicted, classes)
    chosen: list[int] = []
    for actual, predicted, _ in confusion.worst_pairs(MOST_PAIRS):
        is_pair = (predictions.labels == actual) & (predictions.predicted == predicted)
        positions = np.flatnonzero(is_pair)
        ranked = np.argsort(-predictions.confidences[positions], kind="stable")
        chosen.extend(positions[ranked[:IMAGES_PER_PAIR]].tolist())
    return np.array(chosen, np.int64)


def write_mistakes(
    path: Path, examples: Examples, predictions: Predictions, names: Sequence[str]
) -> bool:
    """Write the images of the worst pairs as Parquet; return whether there are any. There are none
    if the features are no images, or all predictions are right; then an old file is deleted.

    Args:
        path: file to write; its folder is made if it is missing.
        examples: the central test set.
        predictions: of these examples.
        names: names of the classes.
    """
    shape = examples.x.shape[1:]
    dtype = examples.x.dtype.name
    chosen = np.zeros(0, np.int64)
    if is_image(shape, dtype) and len(predictions.rows) == len(examples):
        chosen = choose_mistakes(predictions, len(names))
    if not len(chosen):
        path.unlink(missing_ok=True)
        return False
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = predictions.rows[chosen].tolist()
    names_by_label = np.array(names, object)
    columns = {
        "actual": pa.array(names_by_label[predictions.labels[chosen]], pa.string()),
        "predicted": pa.array(names_by_label[predictions.predicted[chosen]], pa.string()),
        "confidence": pa.array(predictions.confidences[chosen], pa.float64()),
        "x": pa.array([examples.x[row].tobytes() for row in rows], pa.binary()),
    }
    features = json.dumps({"shape": list(shape), "dtype": dtype})
    table = pa.table(columns).replace_schema_metadata({"features": features})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd")
    return True


def read_mistakes(path: Path) -> list[Mistake]:
    """Return the images that `write_mistakes` wrote.

    Raises:
        ValueError, KeyError: it is another file.
    """
    import pyarrow.parquet as pq

    table = pq.ParquetFile(path).read(use_threads=False)
    features = json.loads((table.schema.metadata or {})[b"features"])
    shape = tuple(map(int, features["shape"]))
    dtype = str(features["dtype"])
    if not is_image(shape, dtype):
        raise ValueError(f"features of shape {shape} and dtype {dtype} are no images")
    return [
        Mistake(
            row["actual"],
            row["predicted"],
            row["confidence"],
            np.frombuffer(row["x"], dtype).reshape(shape),
        )
        for row in table.to_pylist()
    ]
