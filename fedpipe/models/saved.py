"""A trained model read back from its SavedModel: probabilities for examples, whoever's code made
it, without a pickle.

A SavedModel is a graph of TensorFlow's own operations and its weights. Beside it lies what the
graph does not say: `InputFacts`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fedpipe.errors import ModelError, shorten

if TYPE_CHECKING:
    from fedpipe.config import DataConfig
    from fedpipe.data.manifest import Manifest
    from fedpipe.models.spec import ModelSpec

_BATCH = 1000


READING = (
    *("source", "path", "client_column", "label_column", "feature_dtype", "feature_shape"),
    *("separator", "encoding", "decimal", "column_names", "feature_columns", "ignore_columns"),
)
"""Settings under `data` that say how a source's files are read; a model keeps them, so that new
files are read alike.
"""


@dataclass(frozen=True)
class InputFacts:
    """What becomes of an example before a model sees it, and what its answers mean.

    Attributes:
        feature_dtype: `uint8`: 0..255, divided by 255; `float32`: as it is; `int32`: tokens. None:
            the model does not say.
        inverted: whether the training data were turned from ink into background, or the reverse:
            new examples have to be too.
        labels: name of each class; empty where they are numbers.
        tokens: tokens are 0..tokens - 1; None where features are no tokens.
        source: of the training data. None: the model does not say.
        pixel_convention: what 1.0 meant in the training data, after `inverted` was applied; None
            where features are no drawings.
        columns: names of the table's columns that are the features, in their order; empty where the
            source had no columns, or the model does not say.
        reading: the settings `READING` of the training data, as far as the model says.
    """

    feature_dtype: str | None = None
    inverted: bool = False
    labels: tuple[str, ...] = ()
    tokens: int | None = None
    source: str | None = None
    pixel_convention: str | None = None
    columns: tuple[str, ...] = ()
    reading: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, manifest: "Manifest", model: "ModelSpec", data: "DataConfig | None" = None
    ) -> "InputFacts":
        """Return the facts of a model that was trained on these shards, which the settings `data`
        made.
        """
        return cls(
            manifest.feature_dtype,
            manifest.inverted,
            manifest.vocabulary or (),
            model.tokens,
            manifest.source,
            manifest.pixel_convention,
            manifest.understood.columns if manifest.understood else (),
            data.model_dump(include=set(READING)) if data is not None else {},
        )

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "InputFacts":
        """Return the facts that `to_json` made; what is missing, or not what it should be, is not
        known.
        """
        dtype = values.get("feature_dtype")
        labels = values.get("labels")
        tokens = values.get("tokens")
        source = values.get("source")
        convention = values.get("pixel_convention")
        reading = values.get("reading")
        return cls(
            dtype if dtype in ("uint8", "float32", "int32") else None,
            values.get("inverted") is True,
            tuple(map(str, labels)) if isinstance(labels, list) else (),
            tokens if isinstance(tokens, int) else None,
            source if isinstance(source, str) else None,
            convention if isinstance(convention, str) else None,
            _names_of(values.get("columns")),
            {str(key): value for key, value in reading.items() if key in READING}
            if isinstance(reading, dict)
            else {},
        )

    def to_json(self) -> dict[str, Any]:
        """Return them as JSON-able values. The columns are one text: as a list of 60,000 YAML takes
        seconds to write them.
        """
        lists = {
            "labels": list(self.labels),
            "columns": json.dumps(self.columns),
            "reading": dict(self.reading),
        }
        return asdict(self) | lists

    def differences(self, manifest: "Manifest", invert: bool = False) -> list[str]:
        """Return how shards differ in kind from the model's training data, one text for each
        difference; empty if they do not.

        Args:
            manifest: of the shards.
            invert: whether the shards' drawings will be turned over for the model.
        """
        convention = manifest.pixel_convention
        if invert and convention is not None:
            convention = "background=1.0" if convention == "ink=1.0" else "ink=1.0"
        columns = manifest.understood.columns if manifest.understood else ()
        pairs: list[tuple[str, Any, Any]] = [
            ("dtype", self.feature_dtype, manifest.feature_dtype),
            (
                "source",
                _TABLE.get(str(self.source), self.source),
                _TABLE.get(manifest.source, manifest.source),
            ),
        ]
        if self.source is not None:  # else the model does not say the rest
            pairs += [
                ("pixel convention", self.pixel_convention, convention),
                ("columns", self.columns, columns),
            ]
            pairs += [("labels", self.labels, manifest.vocabulary or ())]
        elif self.labels:
            pairs += [("labels", self.labels, manifest.vocabulary or ())]
        return [
            f"{name} {_short(theirs)}, the model's {_short(own)}"
            for name, own, theirs in pairs
            if own is not None and own != theirs
        ]


_TABLE = {"csv": "table", "parquet": "table"}


def _names_of(text: Any) -> tuple[str, ...]:
    try:
        names = json.loads(text) if isinstance(text, str) else []
    except ValueError:
        return ()
    if isinstance(names, list):
        return tuple(map(str, names))
    return ()


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return shorten(value, 3) or "none"
    return str(value)


class SavedClassifier:
    """A loaded SavedModel of one function, from features to class probabilities."""

    def __init__(self, module: Any, where: str) -> None:
        """Use `load`. Raises ModelError if the module is no such function."""
        functions: list[Any] = (
            getattr(vars(module).get("__call__"), "concrete_functions", None) or []
        )
        inputs: tuple[Any, ...] = (
            functions[0].structured_input_signature[0] if len(functions) == 1 else ()
        )
        if len(inputs) != 1 or inputs[0].dtype.name not in ("float32", "int32"):
            raise ModelError(
                f"{where}: expected a SavedModel of one function of features, found another. Name "
                "a model that fedpipe made."
            )
        self._module = module
        self.where = where
        self.shape: tuple[int | None, ...] = tuple(inputs[0].shape.as_list()[1:])
        self.dtype = np.dtype(inputs[0].dtype.name)
        self.num_classes = int(functions[0].structured_outputs.shape[-1])
        self.function = functions[0]

    @classmethod
    def load(cls, folder: Path, where: str = "") -> "SavedClassifier":
        """Return the model in a folder; `where` names it in errors.

        Raises:
            ModelError: the folder holds no SavedModel, or another kind of one.
        """
        import tensorflow as tf

        try:
            module = tf.saved_model.load(str(folder))
        except (OSError, ValueError, KeyError, tf.errors.OpError) as err:
            reason = " ".join(str(err).split())[:200]
            raise ModelError(
                f"{where or folder}: expected a SavedModel, cannot load it: {reason}. Restore it or "
                "train again."
            ) from err
        return cls(module, where or str(folder))

    @property
    def module(self) -> Any:
        """Return TensorFlow's own object."""
        return self._module

    def __call__(self, features: Any) -> Any:
        """Return the probabilities of a batch, as a tensor; may stand in a graph."""
        return self._module(features)

    def fits(self, feature_shape: tuple[int, ...], num_classes: int, dtype: str) -> bool:
        """Return whether the model takes such features and tells so many classes apart; `dtype` as
        in the shards.
        """
        same = len(self.shape) == len(feature_shape) and all(
            size in (None, given) for size, given in zip(self.shape, feature_shape, strict=True)
        )
        return (
            same
            and num_classes == self.num_classes
            and (self.dtype == np.int32) == (dtype == "int32")
        )

    def predict(self, x: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return probabilities, float32 [n, classes], or [n, length, classes] of a model that
        predicts after each token.

        Args:
            x: float32 or int32 [n, *shape], ready for the model.

        Raises:
            ModelError: the features are others than the model takes.
        """
        if x.dtype != self.dtype or not self.fits(x.shape[1:], self.num_classes, str(x.dtype)):
            raise ModelError(
                f"{self.where}: expected {self.dtype} features of shape {_text(self.shape)}, "
                f"found {x.dtype} of shape {_text(x.shape[1:])}."
            )
        parts = [np.asarray(self(x[start : start + _BATCH])) for start in range(0, len(x), _BATCH)]
        if parts:
            return np.concatenate(parts)
        return np.zeros((0, self.num_classes), np.float32)


def _text(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("any" if size is None else str(size) for size in shape) + "]"
