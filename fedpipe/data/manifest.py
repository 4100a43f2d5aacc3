"""The manifest beside the shards: what they hold, where it came from, and the checksum of every file."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fedpipe.errors import DataError

MANIFEST_NAME = "manifest.json"
SCHEMA_VERSION: Literal[1] = 1

Split = Literal["train", "test"]
Count = Annotated[int, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class ShardFile(_Part):
    """One Parquet file."""

    name: Annotated[str, Field(pattern=r"^(train|test)-\d{5}\.parquet$")]
    split: Split
    rows: Annotated[int, Field(ge=1)]
    bytes: Annotated[int, Field(ge=1)]
    sha256: Sha256


class Manifest(_Part):
    """What a folder of shards holds.

    Attributes:
        schema_version: version of this manifest and of the shards' layout.
        source: name of the source.
        source_version: "sha256:..." of the examples that were taken from the source (`SourceData.sha256`).
        pixel_convention: what 1.0 means in these shards, after `inverted` was applied.
        inverted: whether the source's convention was turned into the other.
        partition: `dirichlet` or `natural`.
        alpha: of the Dirichlet; None where natural.
        seed: `data.seed`.
        test_fraction: of each client's examples; None where the source brings its own test split.
        feature_shape: shape of one example's features.
        feature_dtype: dtype of the features in the shards.
        num_classes: labels are 0..num_classes - 1.
        central_test_examples: how many of the test examples are marked as the central test set.
        label_counts: split -> client id -> number of examples of each label.
        files: in the order of their rows.
        written_by: the Parquet writer and its version, which is part of the files' bytes.
    """

    schema_version: Literal[1]
    source: str
    source_version: str
    pixel_convention: Literal["ink=1.0", "background=1.0"]
    inverted: bool
    partition: Literal["dirichlet", "natural"]
    alpha: float | None
    seed: int
    test_fraction: float | None
    feature_shape: tuple[Annotated[int, Field(ge=1)], ...]
    feature_dtype: Literal["uint8", "float32"]
    num_classes: Annotated[int, Field(ge=1)]
    central_test_examples: Count
    label_counts: dict[Split, dict[str, tuple[Count, ...]]]
    files: tuple[ShardFile, ...]
    written_by: str

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> "Manifest":
        for split in ("train", "test"):
            counts = self.label_counts.get(split)
            if counts is None:
                raise ValueError(f"label_counts has no split {split}")
            wrong = next((client_id for client_id, labels in counts.items() if len(labels) != self.num_classes), None)
            if wrong is not None:
                raise ValueError(f"label_counts.{split}.{wrong} has {len(counts[wrong])} labels, num_classes is {self.num_classes}")
            counted, in_files = self.examples(split), sum(file.rows for file in self.files if file.split == split)
            if counted != in_files:
                raise ValueError(f"label_counts.{split} add up to {counted} examples, the files of that split to {in_files} rows")
        if self.central_test_examples > self.examples("test"):
            raise ValueError(f"{self.central_test_examples} central test examples of {self.examples('test')} test examples")
        return self

    def examples(self, split: Split) -> int:
        """Return the number of examples of a split."""
        return sum(map(sum, self.label_counts[split].values()))

    def to_json(self) -> str:
        """Return the manifest as JSON, the same text for the same manifest: keys sorted, one line a file and a client."""
        body = self.model_dump(mode="json")
        files, counts = body.pop("files"), body.pop("label_counts")
        lines = [f"{_json(key)}: {_json(value)}" for key, value in body.items()]
        lines.append('"files": [\n  ' + ",\n  ".join(map(_json, files)) + "\n ]")
        lines.append(
            '"label_counts": {\n  ' + ",\n  ".join(f"{_json(split)}: {_lines(counts[split])}" for split in sorted(counts)) + "\n }"
        )
        return "{\n " + ",\n ".join(sorted(lines)) + "\n}\n"


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of the shards in `folder`.

    Raises:
        DataError: it is not there, cannot be read, is not valid, or is of another schema version.
    """
    path = folder / MANIFEST_NAME
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError as err:
        raise DataError(f"{folder}: expected shards, found no {MANIFEST_NAME}. Run `fedpipe prepare`.") from err
    except OSError as err:
        raise DataError(f"{path}: cannot be read: {err}.") from err
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(map(str, first["loc"]))
        what = f"{where}: {first['msg']}" if where else first["msg"]
        raise DataError(f"{path}: expected a manifest of schema version {SCHEMA_VERSION}, found {what}. Run `fedpipe prepare`.") from err


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=True)


def _lines(counts: dict[str, list[int]]) -> str:
    return "{\n   " + ",\n   ".join(f"{_json(client_id)}: {_json(counts[client_id])}" for client_id in sorted(counts)) + "\n  }"
