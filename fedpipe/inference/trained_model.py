"""A recorded model as a function of arrays and tables in memory; its predictions are those that
`fedpipe predict` makes of files.
"""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fedpipe.config import load_config
from fedpipe.errors import DataError
from fedpipe.inference.input_reader import Reader
from fedpipe.project.paths import Project

if TYPE_CHECKING:
    import pandas as pd

    from fedpipe.models.input_facts import InputFacts
    from fedpipe.models.saved import SavedClassifier

_ARRAY = "the array"
_FRAME = "the table"


class TrainedModel:
    """A recorded model; call it on examples.

    Attributes:
        label: `NAME/VERSION @alias`, or `run ID`.
        kind: of the task.
        names: of the columns of a prediction: classes, labels or targets.
    """

    def __init__(
        self, label: str, model: "SavedClassifier", facts: "InputFacts", reader: Reader
    ) -> None:
        """Use `load`."""
        self.label = label
        self.kind = facts.kind
        self.names = output_names(facts, model.num_classes)
        self._model = model
        self._reader = reader

    @classmethod
    def load(cls, project: Project, name: str) -> "TrainedModel":
        """Return the model of a run, or a registered one, as `fedpipe predict` names it.

        Raises:
            TrackingError: there is no such model.
            ModelError: it cannot be loaded.
        """
        from fedpipe.inference.predict import warn_if_forgotten
        from fedpipe.models.saved import SavedClassifier
        from fedpipe.tracking.fetch import fetch_model
        from fedpipe.tracking.store import read_store

        with tempfile.TemporaryDirectory(prefix="fedpipe-model-") as scratch:
            fetched = fetch_model(read_store(project.root), name, Path(scratch))
            warn_if_forgotten(fetched)
            model = SavedClassifier.load(fetched.saved_model, fetched.label)
        reader = Reader(
            fetched.facts,
            model.shape,
            model.dtype == np.int32,
            load_config(project.params).data,
            invert=False,
            project=project.root,
            num_classes=model.num_classes,
        )
        return cls(fetched.label, model, fetched.facts, reader)

    def __call__(self, examples: Any) -> "pd.DataFrame":
        """Return one row per example: the probability of each class, or of each label, or the
        number predicted for each target, in a column with its name.

        Args:
            examples: array [n, *features] or list of sequences as the source of the training data
                has them (pixels 0..255 or 0..1, numbers, tokens), or a DataFrame with the columns
                of the training table; the row's index is kept.

        Raises:
            DataError: the examples are not input of the model.
        """
        import pandas as pd

        if isinstance(examples, pd.DataFrame):
            outputs = self._outputs(_write_frame, examples, "frame.parquet", _FRAME)
            return pd.DataFrame(outputs, index=examples.index, columns=list(self.names))
        outputs = self._outputs(_write_array, examples, "array.npz", _ARRAY)
        return pd.DataFrame(outputs, columns=list(self.names))

    def __repr__(self) -> str:
        """Return the model's label and the shape of its input."""
        sizes = " x ".join("any" if size is None else str(size) for size in self._model.shape)
        return f"TrainedModel({self.label}, features {sizes}, {len(self.names)} outputs)"

    def _outputs(
        self, write: Any, examples: Any, file_name: str, label: str
    ) -> npt.NDArray[np.float32]:
        """Return outputs [n, outputs] of examples that go through a file: what is done to a file's
        examples is done to these.
        """
        from fedpipe.inference.predictions import of_last_token

        with tempfile.TemporaryDirectory(prefix="fedpipe-input-") as folder:
            path = Path(folder) / file_name
            write(examples, path)
            try:
                parts = [
                    of_last_token(self._model.predict(batch.x), batch)
                    for batch in self._reader.batches([path])
                ]
            except DataError as err:
                raise DataError(str(err).replace(str(path), label)) from err
        if not parts:
            return np.zeros((0, len(self.names)), np.float32)
        outputs = np.concatenate(parts)
        if self.kind == "binary":
            return np.concatenate([1 - outputs, outputs], axis=1)
        return outputs


def output_names(facts: "InputFacts", outputs: int) -> tuple[str, ...]:
    """Return the names of a prediction's columns: of classes, labels or targets; numbers where they
    have none. `outputs`: of the model; a binary one has a single output and two classes.
    """
    columns = 2 if facts.kind == "binary" else outputs
    if len(facts.labels) == columns:
        return facts.labels
    return tuple(map(str, range(columns)))


def _write_frame(frame: "pd.DataFrame", path: Path) -> None:
    import pyarrow as pa

    try:
        frame.to_parquet(path, index=False)
    except (pa.ArrowException, ValueError, TypeError) as err:
        reason = " ".join(str(err).split())[:200]
        raise DataError(f"{_FRAME}: expected columns of one type each: {reason}.") from err


def _write_array(examples: Any, path: Path) -> None:
    if _is_ragged(examples):
        examples = _padded(examples)
    array = np.asarray(examples)
    if array.dtype.kind not in "biufUS" or array.ndim == 0:
        raise DataError(
            f"{_ARRAY}: expected numbers or texts of shape [n, ...], found {array.dtype} of shape "
            f"{list(array.shape)}."
        )
    np.savez(path, x=array)


def _is_ragged(examples: Any) -> bool:
    if isinstance(examples, np.ndarray) or not len(examples):
        return False
    return len({np.shape(example) for example in examples}) > 1


def _padded(examples: Any) -> npt.NDArray[np.int32]:
    """Return sequences of tokens padded with 0 to the longest."""
    padded = np.zeros((len(examples), max(map(len, examples))), np.int32)
    for row, tokens in zip(padded, examples, strict=True):
        row[: len(tokens)] = tokens
    return padded
