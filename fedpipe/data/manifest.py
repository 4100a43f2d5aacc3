"""The manifest beside the shards: what they hold, where it came from, and the checksum of every
file.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fedpipe.config.task import TaskKind
from fedpipe.data.sources.base import SourceSummary
from fedpipe.errors import DataError

if TYPE_CHECKING:
    from fedpipe.data.preprocess.steps import FittedSteps

MANIFEST_NAME = "manifest.json"
SCHEMA_VERSION: Literal[2] = 2

Split = Literal["train", "validation", "test"]
ShardSplit = Literal["train", "validation", "test", "central"]
SPLITS: tuple[Split, ...] = get_args(Split)
Count = Annotated[int, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class IndexFile(_Part):
    """The file of the index (`data.index`)."""

    name: Literal["clients.parquet"]
    rows: Annotated[int, Field(ge=1)]
    bytes: Annotated[int, Field(ge=1)]
    sha256: Sha256


class ShardFile(_Part):
    """One Parquet file of examples; `central` is the central test set, a copy of some of the test
    split.
    """

    name: Annotated[str, Field(pattern=r"^(train|validation|test|central)-\d{5}\.parquet$")]
    split: ShardSplit
    rows: Annotated[int, Field(ge=1)]
    bytes: Annotated[int, Field(ge=1)]
    sha256: Sha256


class TargetRange(_Part):
    """The values of one target of regression over the training examples of participating clients.

    Attributes:
        mean, std: mean and standard deviation (divisor n).
        min, max: smallest and largest value.
    """

    mean: float
    std: Annotated[float, Field(ge=0)]
    min: float
    max: float


class Targets(_Part):
    """What the labels are, where `task.kind` is not `classification`.

    The column `y` of the shards and the counts of labels hold a group of each example, which
    partitions use: of binary the class; of multilabel the first label that it has, or the last
    group, of the examples without a label; of regression the tenth of all examples that its first
    target is in, fewer than ten groups where targets are equal; of tokens one group for all. The
    shards of multilabel and regression have the targets in a column `target` beside it.

    Attributes:
        kind: `task.kind`.
        names: of the targets or labels; of binary the two classes; empty of tokens.
        outputs: size of the last axis of a model's outputs: 1 of binary, the targets, the labels,
            or the tokens with padding.
        ranges: of regression the values of each target; else empty.
    """

    kind: Literal["binary", "multilabel", "regression", "tokens"]
    names: tuple[str, ...]
    outputs: Annotated[int, Field(ge=1)]
    ranges: tuple[TargetRange, ...] = ()

    @property
    def width(self) -> int | None:
        """Return the number of float32 targets of an example; None where `y` is its label."""
        if self.kind in ("multilabel", "regression"):
            return self.outputs
        return None


class Manifest(_Part):
    """What a folder of shards holds.

    Attributes:
        schema_version: version of this manifest and of the shards' layout.
        source: name of the source.
        source_version: "sha256:..." of the examples that were taken from the source
            (`Pool.sha256`).
        pixel_convention: what 1.0 means in these shards, after `inverted` was applied; None where
            features are no drawings.
        inverted: whether the source's convention was turned into the other.
        partition: how clients came to their examples.
        alpha, labels_per_client, sigma: of the partition that has them; else None.
        seed: `data.seed`.
        test_fraction: of each client's examples; None where the source brings its own test split.
        validation_fraction: of each client's training examples.
        held_out_fraction: of the clients.
        feature_shape: shape of one example's features.
        feature_dtype: dtype of the features in the shards.
        variable_length: whether features are sequences of differing length, padded with 0 to the
            longest, `feature_shape`.
        num_classes: classes, or the groups of `Targets`, are 0..num_classes - 1.
        vocabulary: the labels' names in the order of their classes, texts sorted as texts, numbers
            as numbers; None where the labels are the classes themselves.
        clients: number of clients.
        held_out_clients: how many of them never train.
        examples: number of examples by split.
        central_test_examples: how many of the test examples are in the central test set too.
        forgotten: ids of clients whose examples were left out on request; no client of that name is
            in the shards.
        index: the file of the clients and their counts.
        files: in the order of their rows.
        written_by: the Parquet writer and its version, which is part of the files' bytes.
        notes: warnings of `prepare` about labels, clients and splits, one line each: what was
            left out, or may not be meant. Absent from the JSON if there is nothing.
        understood: what the source understood of its files; None where it said nothing. Absent from
            the JSON then.
        targets: what the labels are; None of classification. Absent from the JSON then.
        preprocess: the fitted steps as JSON (`data.preprocess.steps`); None if there are none.
            Absent from the JSON then.
    """

    schema_version: Literal[2]
    source: str
    source_version: str
    pixel_convention: Literal["ink=1.0", "background=1.0"] | None
    inverted: bool
    partition: Literal["natural", "iid", "dirichlet", "pathological", "quantity"]
    alpha: float | None
    labels_per_client: int | None
    sigma: float | None
    seed: int
    test_fraction: float | None
    validation_fraction: float
    held_out_fraction: float
    feature_shape: tuple[Annotated[int, Field(ge=1)], ...]
    feature_dtype: Literal["uint8", "int32", "float32"]
    variable_length: bool
    num_classes: Annotated[int, Field(ge=1)]
    vocabulary: tuple[str, ...] | None
    clients: Annotated[int, Field(ge=1)]
    held_out_clients: Count
    examples: dict[Split, Count]
    central_test_examples: Count
    forgotten: tuple[str, ...]
    index: IndexFile
    files: tuple[ShardFile, ...]
    written_by: str
    notes: tuple[str, ...] = ()
    understood: SourceSummary | None = None
    targets: Targets | None = None
    preprocess: dict[str, Any] | None = None

    @property
    def steps(self) -> "FittedSteps | None":
        """Return the fitted steps of preprocessing. Raises DataError if they cannot be read."""
        if self.preprocess is None:
            return None
        from fedpipe.data.preprocess.steps import FittedSteps

        return FittedSteps.parse(self.preprocess, MANIFEST_NAME)

    @property
    def tokens(self) -> int | None:
        """Return the number of different tokens that a step of preprocessing makes, padding
        included; None where no step makes tokens.
        """
        steps = self.steps
        return None if steps is None else steps.tokens

    @property
    def outputs(self) -> int:
        """Return the size of the last axis of a model's outputs."""
        if self.targets is None:
            return self.num_classes
        return self.targets.outputs

    @property
    def kind(self) -> TaskKind:
        """Return the kind of the labels, `task.kind` when the shards were made."""
        if self.targets is None:
            return "classification"
        return self.targets.kind

    @property
    def target_width(self) -> int | None:
        """Return the number of float32 targets of an example; None where its label is an int32."""
        if self.targets is None:
            return None
        return self.targets.width

    @property
    def labels_in_words(self) -> str:
        """Return how many of what the labels are, such as `10 classes` or `2 targets`."""
        match self.kind:
            case "regression":
                return f"{self.outputs:,} target{'s' if self.outputs > 1 else ''}"
            case "multilabel":
                return f"{self.outputs:,} labels"
            case "tokens":
                return f"{self.outputs:,} tokens"
            case _:
                return f"{self.num_classes:,} classes"

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> "Manifest":
        counts = {split: self.examples.get(split) for split in SPLITS}
        for split, count in (*counts.items(), ("central", self.central_test_examples)):
            in_files = sum(file.rows for file in self.files if file.split == split)
            if count != in_files:
                raise ValueError(
                    f"{count} examples of split {split}, its files have {in_files} rows"
                )
        if self.central_test_examples > self.examples["test"]:
            raise ValueError(
                f"{self.central_test_examples} central test examples of {self.examples['test']} "
                "test examples"
            )
        if self.index.rows != self.clients:
            raise ValueError(f"{self.clients} clients, their index has {self.index.rows} rows")
        if self.vocabulary is not None and len(self.vocabulary) != self.num_classes:
            raise ValueError(
                f"{self.num_classes} classes, the vocabulary has {len(self.vocabulary)} names"
            )
        return self

    def to_json(self) -> str:
        """Return the manifest as JSON, the same text for the same manifest: keys sorted, one line a
        key and a file.
        """
        body = self.model_dump(mode="json")
        files = body.pop("files")
        for key in ("understood", "targets", "preprocess"):
            if body[key] is None:
                del body[key]
        if not body["notes"]:
            del body["notes"]
        lines = [f"{_json(key)}: {_json(value)}" for key, value in body.items()]
        lines.append('"files": [\n  ' + ",\n  ".join(map(_json, files)) + "\n ]")
        return "{\n " + ",\n ".join(sorted(lines)) + "\n}\n"


def how_to_restore(folder: Path) -> str:
    """Return the sentence that says how to make damaged or missing shards again."""
    if folder.parent.parent.name == ".fedpipe":
        return f"Remove the folder {folder}: the next run with its `data` settings makes it again."
    return "Run `fedpipe prepare`."


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of the shards in `folder`.

    Raises:
        DataError: it is not there, cannot be read, is not valid, or is of another schema version.
    """
    path = folder / MANIFEST_NAME
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError as err:
        raise DataError(
            f"{folder}: expected shards, found no {MANIFEST_NAME}. {how_to_restore(folder)}"
        ) from err
    except OSError as err:
        raise DataError(f"{path}: cannot be read: {err}.") from err
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(map(str, first["loc"]))
        problem = f"{where}: {first['msg']}" if where else first["msg"]
        raise DataError(
            f"{path}: expected a manifest of schema version {SCHEMA_VERSION}, found {problem}. "
            f"{how_to_restore(folder)}"
        ) from err


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=True)
