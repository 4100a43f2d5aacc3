"""The pictures of a report's worst pairs: examples of the central test set that the model took for
something else.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedpipe.figures.png import is_image
from fedpipe.models.confusion import Confusion
from fedpipe.models.evaluate import Predictions
from fedpipe.types import Examples

PAIRS = 6
EACH = 6
"""The pairs that are confused most often, and how many pictures of each are kept."""


@dataclass(frozen=True)
class Mistake:
    """One example that was taken for another class.

    Attributes:
        actual: name of its label.
        predicted: name of what it was taken for.
        confidence: probability that the model gave to that, 0..1.
        pixels: uint8 or float32 [height, width] or [height, width, channels].
    """

    actual: str
    predicted: str
    confidence: float
    pixels: npt.NDArray[np.generic]


def choose_mistakes(found: Predictions, classes: int) -> npt.NDArray[np.int64]:
    """Return which predictions to show: of each of the worst pairs those that the model was surest
    of.

    Args:
        found: the predictions, one for each example.
        classes: number of classes.

    Returns:
        int64 [mistakes], positions in `found`, pair by pair.
    """
    confusion = Confusion.count(found.labels, found.predicted, classes)
    chosen: list[int] = []
    for actual, guess, _ in confusion.worst_pairs(PAIRS):
        positions = np.flatnonzero((found.labels == actual) & (found.predicted == guess))
        surest = np.argsort(-found.confidences[positions], kind="stable")[:EACH]
        chosen.extend(positions[surest].tolist())
    return np.array(chosen, np.int64)


def write_mistakes(
    path: Path, examples: Examples, found: Predictions, names: Sequence[str]
) -> bool:
    """Write the pictures of the worst pairs as Parquet; return whether there are any: features may
    be no pictures, or all are right.

    Args:
        path: where to.
        examples: the central test set.
        found: what was predicted of it.
        names: of the classes.
    """
    shape = examples.x.shape[1:]
    dtype = examples.x.dtype.name
    chosen = (
        choose_mistakes(found, len(names))
        if is_image(shape, dtype) and len(found.rows) == len(examples)
        else np.zeros(0, np.int64)
    )
    if not len(chosen):
        path.unlink(missing_ok=True)
        return False
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "actual": pa.array([names[label] for label in found.labels[chosen].tolist()], pa.string()),
        "predicted": pa.array(
            [names[label] for label in found.predicted[chosen].tolist()], pa.string()
        ),
        "confidence": pa.array(found.confidences[chosen].astype(np.float64).tolist(), pa.float64()),
        "x": pa.array(
            [examples.x[row].tobytes() for row in found.rows[chosen].tolist()], pa.binary()
        ),
    }
    about = json.dumps({"shape": list(shape), "dtype": dtype})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        pa.table(columns).replace_schema_metadata({"features": about}), path, compression="zstd"
    )
    return True


def read_mistakes(path: Path) -> list[Mistake]:
    """Return what `write_mistakes` wrote. Raises ValueError or KeyError if it is none of these."""
    import pyarrow.parquet as pq

    table = pq.ParquetFile(path).read(use_threads=False)
    about = json.loads((table.schema.metadata or {})[b"features"])
    shape = tuple(map(int, about["shape"]))
    dtype = str(about["dtype"])
    if not is_image(shape, dtype):
        raise ValueError(f"features of shape {shape} and dtype {dtype} are no pictures")
    return [
        Mistake(
            row["actual"],
            row["predicted"],
            row["confidence"],
            np.frombuffer(row["x"], dtype).reshape(shape),
        )
        for row in table.to_pylist()
    ]
