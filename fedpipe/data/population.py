"""The population: the clients in the shards, verified when opened and read on demand.

The index's counts give each client's rows, so that a client is read by its row groups alone.
Opening costs the index and the files' checksums; of the examples nothing is read before a client is
asked for.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from fedpipe.data.array_types import Int64s
from fedpipe.data.client_ids import ClientIds
from fedpipe.data.digest import file_sha256
from fedpipe.data.index import ClientIndex, read_index
from fedpipe.data.manifest import (
    SPLITS,
    IndexFile,
    Manifest,
    ShardFile,
    Split,
    how_to_restore,
    read_manifest,
)
from fedpipe.data.split_reader import SplitReader, shard_column
from fedpipe.errors import DataError
from fedpipe.types import Examples


class Population:
    """The clients of a folder of shards. May be shared by threads."""

    def __init__(
        self, path: Path, manifest: Manifest, index: ClientIndex, open_files: int | None = None
    ) -> None:
        """Take what describes the shards in `path`; nothing is read. Use `open`.

        Raises:
            DataError: manifest and index do not agree.
        """
        self.path = path
        self.manifest = manifest
        self.index = index
        for split in SPLITS:
            counted = int(index.counts(split).sum())
            if counted != manifest.examples[split]:
                raise DataError(
                    f"{path / manifest.index.name}: expected {manifest.examples[split]} {split} "
                    f"examples, found {counted}. {how_to_restore(path)}"
                )
        self._splits = {
            split: SplitReader(
                path, split, manifest, index.client_ids, partial(index.counts, split), open_files
            )
            for split in SPLITS
        }
        self._central = SplitReader(
            path, "central", manifest, ClientIds.of(()), lambda: np.zeros(0, np.int64), open_files
        )

    @classmethod
    def open(cls, path: Path, verify: bool = True, open_files: int | None = None) -> "Population":
        """Return the population of the shards in the folder `path`.

        Args:
            path: folder that `prepare_shards` made.
            verify: compare every file's SHA-256 with the manifest's; without it a damaged file
                shows when it is read.
            open_files: files of a split whose metadata are kept, about a megabyte each; 16 with
                None. A few are enough for who reads clients in the order of their ids.

        Raises:
            DataError: there are no shards, the manifest is not valid, or a file is missing or not
                the manifest's.
        """
        manifest = read_manifest(path)
        _check_file(path / manifest.index.name, manifest.index, verify=True)
        for file in manifest.files:
            _check_file(path / file.name, file, verify)
        return cls(
            path, manifest, read_index(path / manifest.index.name, manifest.num_classes), open_files
        )

    def client_ids(self, split: Split = "train") -> ClientIds:
        """Return the ids of the clients that have examples in a split, sorted; held-out clients are
        among them.
        """
        return self._splits[split].client_ids

    def participating(self) -> ClientIds:
        """Return the ids of the clients that may train, sorted: those with training examples that
        are not held out.
        """
        return self.index.client_ids.where(self.index.trains())

    def training_sizes(self, client_ids: Sequence[str]) -> Int64s:
        """Return int64 [clients], the numbers of training examples of some of the participating
        clients; fast if it is all of them.
        """
        trains = self.index.trains()
        if len(client_ids) == int(trains.sum()):
            sizes: Int64s = self.index.counts("train")[trains]
            return sizes
        return np.array([self.num_examples(client_id) for client_id in client_ids], np.int64)

    def num_examples(self, client_id: str, split: Split = "train") -> int:
        """Return the number of a client's examples. Raises DataError for a client that the split
        does not have.
        """
        start, end = self._splits[split].rows(client_id)
        return end - start

    def examples(self, client_id: str, split: Split = "train") -> Examples:
        """Return a client's examples, in the shards' order: x uint8, int32 or float32 [n,
        *feature_shape], y int32 [n] or float32 [n, targets].

        Raises:
            DataError: the split does not have the client, its file is damaged or not the
                manifest's, or a label is no class.
        """
        examples = self._splits[split].read(client_id)
        if self.manifest.target_width is not None:
            return examples
        classes = self.manifest.num_classes
        y = examples.y
        if len(y) and not 0 <= y.min() <= y.max() < classes:
            raise DataError(
                f"client {client_id!r}: expected labels 0..{classes - 1}, found "
                f"{y.min()}..{y.max()} in {self.path}. {how_to_restore(self.path)}"
            )
        return examples

    def highest_token(self) -> int:
        """Return the highest number among the features of all examples; for tokens. Reads every
        shard once, a row group at a time.
        """
        import pyarrow.parquet as pq

        dtype = np.dtype(self.manifest.feature_dtype).newbyteorder("<")
        highest = 0
        for entry in self.manifest.files:
            with pq.ParquetFile(self.path / entry.name) as file:
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group, columns=["x"])
                    x = shard_column([table], "x", dtype, self.manifest.feature_shape)
                    highest = max(highest, int(x.max(initial=0)))
        return highest

    def central_test(self) -> Examples:
        """Return the central test set, in the shards' order.

        Raises:
            DataError: a file is damaged, or holds another number of examples than the manifest
                says.
        """
        examples = self._central.read_all()
        if len(examples) != self.manifest.central_test_examples:
            raise DataError(
                f"{self.path}: expected {self.manifest.central_test_examples} central test "
                f"examples, found {len(examples)}. {how_to_restore(self.path)}"
            )
        return examples


def _check_file(path: Path, entry: ShardFile | IndexFile, verify: bool) -> None:
    remedy = how_to_restore(path.parent)
    try:
        size = path.stat().st_size
        path.open("rb").close()  # without `verify` too, a file must be readable
        digest = file_sha256(path) if verify and size == entry.bytes else entry.sha256
    except OSError as err:
        raise DataError(
            f"{path}: expected the shard of the manifest, found {err.strerror or err}. {remedy}"
        ) from err
    if size != entry.bytes:
        raise DataError(
            f"{path}: expected {entry.bytes} bytes with sha256 {entry.sha256}, found {size} "
            f"bytes. {remedy}"
        )
    if digest != entry.sha256:
        raise DataError(f"{path}: expected sha256 {entry.sha256}, found {digest}. {remedy}")
