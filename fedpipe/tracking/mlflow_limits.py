"""Fits records to MLflow's limits: inputs of a run, texts and batches of bounded size."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

Item = TypeVar("Item")

# MLflow's limits (mlflow.utils.validation): a server raises an error, a client cuts silently.
MAX_PARAM = 6000
MAX_TAG = 8000
MAX_DIGEST = 36
MAX_BATCH = 100
MAX_VERSION_TAG = 5000


@dataclass(frozen=True)
class DataRecord:
    """The data set of a run, as lineage.

    Attributes:
        name: name of the data set, for example `mnist5k`.
        path: where it is, relative to the project.
        md5: DVC's md5 of it; of a folder it ends in `.dir`.
        source: what it was made from.
        counts: for example `{"clients": 100, "train_examples": 4000}`.
    """

    name: str
    path: str
    md5: str
    source: str
    counts: Mapping[str, int] = field(default_factory=dict)


def dataset_inputs(data: DataRecord) -> "list[DatasetInput]":
    """Return `data` as inputs of a run: as `NAME` for training, and `NAME-test` for testing."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    # `uri` alone is what MLflow's local source reads; the rest is for people. Digests above 36
    # characters are refused.
    source = json.dumps({"uri": data.path, "md5": data.md5, "made_from": data.source})
    profile = json.dumps(dict(data.counts))
    # MLflow keeps one input per name and digest, so the two contexts of one data set need two
    # names.
    return [
        DatasetInput(
            Dataset(data.name + suffix, data.md5[:MAX_DIGEST], "local", source, profile=profile),
            [InputTag("mlflow.data.context", context)],
        )
        for suffix, context in (("", "training"), ("-test", "testing"))
    ]


def fit(text: str, limit: int) -> str:
    """Return `text`; if it is longer than `limit` characters, cut to end in the SHA-256 of the
    whole.
    """
    if len(text) <= limit:
        return text
    end = f"... [cut; sha256 {hashlib.sha256(text.encode()).hexdigest()}]"
    return text[: limit - len(end)] + end


def batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Yield the items in lists for one request each, of at most 100."""
    iterator = iter(items)
    while batch := list(islice(iterator, MAX_BATCH)):
        yield batch
