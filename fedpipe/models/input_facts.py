"""Facts that a SavedModel's graph does not say: how inputs are made from examples, and what its
outputs are called.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from fedpipe.config.task import TASK_KINDS, TaskKind
from fedpipe.data.preprocess.steps import FittedSteps
from fedpipe.errors import shorten

if TYPE_CHECKING:
    from fedpipe.config import DataConfig
    from fedpipe.data.manifest import Manifest
    from fedpipe.models.spec import ModelSpec

READING = (
    *("source", "path", "client_column", "label_column", "feature_dtype", "feature_shape"),
    *("separator", "encoding", "decimal", "column_names", "feature_columns", "ignore_columns"),
)
"""Settings under `data` that say how a source's files are read; a model keeps them, so that new
files are read alike.
"""


@dataclass(frozen=True)
class InputFacts:
    """Facts that a new example needs: how a model's inputs are made, and what its outputs are.

    Attributes:
        feature_dtype: `uint8`: 0..255, divided by 255; `float32`: as it is; `int32`: tokens. None:
            the model does not say.
        inverted: whether the training data were turned from ink into background, or the reverse:
            new examples have to be too.
        labels: name of each class, label or target; empty where classes are numbers, and of tokens.
        tokens: tokens are 0..tokens - 1; None where features are no tokens.
        source: of the training data. None: the model does not say.
        pixel_convention: what 1.0 meant in the training data, after `inverted` was applied; None
            where features are no drawings.
        columns: names of the table's columns that are the features, in their order; empty where the
            source had no columns, or the model does not say.
        reading: the settings `READING` of the training data, as far as the model says.
        kind: of the task; that of earlier versions is `classification`.
        preprocess: the fitted steps of the training data as JSON (`data.preprocess.steps`); empty
            if there are none. New examples go through them before the model sees them.
    """

    feature_dtype: str | None = None
    inverted: bool = False
    labels: tuple[str, ...] = ()
    tokens: int | None = None
    source: str | None = None
    pixel_convention: str | None = None
    columns: tuple[str, ...] = ()
    reading: Mapping[str, Any] = field(default_factory=dict)
    kind: TaskKind = "classification"
    preprocess: Mapping[str, Any] = field(default_factory=dict)

    @property
    def steps(self) -> FittedSteps | None:
        """Return the steps of preprocessing. Raises DataError if they cannot be read."""
        if not self.preprocess:
            return None
        return FittedSteps.parse(self.preprocess, "the model")

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
            output_names(manifest),
            model.tokens,
            manifest.source,
            manifest.pixel_convention,
            manifest.understood.columns if manifest.understood else (),
            data.model_dump(include=set(READING)) if data is not None else {},
            kind_of(manifest),
            manifest.preprocess or {},
        )

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "InputFacts":
        """Return the facts that `to_json` made; what is missing, or not what it should be, is not
        known.
        """
        dtype = values.get("feature_dtype")
        labels = _only(list, values.get("labels")) or ()
        reading = _only(dict, values.get("reading")) or {}
        kind = values.get("kind")
        return cls(
            dtype if dtype in ("uint8", "float32", "int32") else None,
            values.get("inverted") is True,
            tuple(map(str, labels)),
            _only(int, values.get("tokens")),
            _only(str, values.get("source")),
            _only(str, values.get("pixel_convention")),
            _names_of(values.get("columns")),
            {str(key): value for key, value in reading.items() if key in READING},
            kind if kind in TASK_KINDS else "classification",
            _object_of(values.get("preprocess")),
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
        facts = asdict(self) | lists
        if self.preprocess:
            return facts | {"preprocess": json.dumps(self.preprocess)}
        del facts["preprocess"]
        return facts

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
            ("task", self.kind, kind_of(manifest)),
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
            pairs += [("labels", self.labels, output_names(manifest))]
            if dict(self.preprocess) != (manifest.preprocess or {}):
                pairs.append(("preprocessing", _steps_in(self.preprocess), "of other figures"))
        elif self.labels:
            pairs += [("labels", self.labels, output_names(manifest))]
        return [
            f"{name} {_short(theirs)}, the model's {_short(own)}"
            for name, own, theirs in pairs
            if own is not None and own != theirs
        ]


def _steps_in(preprocess: Mapping[str, Any]) -> str:
    return shorten([step.get("name") for step in preprocess.get("steps", ())]) or "none"


def kind_of(manifest: "Manifest") -> TaskKind:
    """Return the kind of the task that shards are of."""
    if manifest.targets is None:
        return "classification"
    return manifest.targets.kind


def output_names(manifest: "Manifest") -> tuple[str, ...]:
    """Return the names of classes, labels or targets; empty where classes are numbers, and of
    tokens.
    """
    if manifest.targets is not None:
        return manifest.targets.names
    return manifest.vocabulary or ()


def shown_names(manifest: "Manifest") -> tuple[str, ...]:
    """Return the names of classes, labels or targets; numbers where they have none."""
    return output_names(manifest) or tuple(map(str, range(manifest.outputs)))


_TABLE = {"csv": "table", "parquet": "table"}
Kind = TypeVar("Kind")


def _names_of(text: Any) -> tuple[str, ...]:
    try:
        names = json.loads(_only(str, text) or "[]")
    except ValueError:
        return ()
    return tuple(map(str, _only(list, names) or ()))


def _object_of(text: Any) -> dict[str, Any]:
    try:
        values = json.loads(_only(str, text) or "{}")
    except ValueError:
        return {}
    return _only(dict, values) or {}


def _only(kind: type[Kind], value: object) -> Kind | None:
    """Return a value of the kind; None for any other value."""
    return value if isinstance(value, kind) else None


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return shorten(value, 3) or "none"
    return str(value)
