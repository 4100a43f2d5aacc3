"""The index of a population: a row for each client, held as columns, so that a million clients open
in a second and cost little memory.

It lies beside the shards as `clients.parquet`: `client_id`, `held_out`, for each split the number
of examples, and in `train_labels` and so on how many of which label, without those that are zero;
these are read when they are asked for. The rows of a split are sorted by client, so the numbers
also say where in the shards a client's rows are.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from fedpipe.data.array_types import Array, Bools, Int32s, Int64s, Ints
from fedpipe.data.client_ids import ClientIds
from fedpipe.data.label_counts import LabelCounts, joined
from fedpipe.data.manifest import SPLITS, Split, how_to_restore
from fedpipe.errors import DataError

# As in `shards`: pyarrow's conversions of lists and to NumPy import pandas, a third of a second;
# buffers do not.
INDEX_NAME: Final = "clients.parquet"
_GROUP_CLIENTS = 50_000
"""Clients whose labels are written and read at once."""

LabelsOf = Callable[[Split, int, int], LabelCounts]
"""(split, first, end) -> the label counts of clients `first` to before `end`."""


@dataclass(frozen=True, eq=False)
class ClientIndex:
    """The clients of a population.

    Attributes:
        client_ids: sorted.
        held_out: bool [clients]: never trains, as it was held out or has test examples alone.
        label_counts: split -> how many examples of which label.
        examples: split -> int32 [clients], number of examples; None: summed from `label_counts`.
    """

    client_ids: ClientIds
    held_out: Bools
    label_counts: Mapping[Split, LabelCounts]
    examples: Mapping[Split, Int32s] | None = None

    def counts(self, split: Split) -> Int64s:
        """Return int64 [clients]: examples of each client in a split."""
        if self.examples is None:
            return self.label_counts[split].sizes()
        return self.examples[split].astype(np.int64)

    def trains(self) -> Bools:
        """Return bool [clients]: which of them may train."""
        trains: Bools = (self.counts("train") > 0) & ~self.held_out
        return trains

    def position(self, client_id: str) -> int | None:
        """Return the index of a client, or None if it is not there."""
        return self.client_ids.find(client_id)


def write_index(path: Path, index: ClientIndex, labels: LabelsOf | None = None) -> None:
    """Write the index: the same bytes for the same clients.

    Args:
        path: file to write.
        index: the clients.
        labels: gives the label counts of some clients, instead of those of `index`, which may be
            empty then.
    """
    import pyarrow.parquet as pq

    def of_index(split: Split, first: int, end: int) -> LabelCounts:
        return index.label_counts[split].rows(np.arange(first, end))

    clients = len(index.client_ids)
    schema = _schema()
    with pq.ParquetWriter(
        path, schema, version="2.6", data_page_version="1.0", compression="zstd", store_schema=False
    ) as writer:
        for first in range(0, clients, _GROUP_CLIENTS):
            end = min(first + _GROUP_CLIENTS, clients)
            writer.write_table(
                _table(index, labels or of_index, first, end, schema), row_group_size=_GROUP_CLIENTS
            )


def _schema() -> Any:
    import pyarrow as pa

    pair = pa.struct(
        [
            pa.field("label", pa.int32(), nullable=False),
            pa.field("count", pa.int32(), nullable=False),
        ]
    )
    columns = [
        ("client_id", pa.string()),
        ("held_out", pa.bool_()),
        *((split, pa.int32()) for split in SPLITS),
    ]
    columns += [
        (f"{split}_labels", pa.list_(pa.field("element", pair, nullable=False))) for split in SPLITS
    ]
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns])


def _table(index: ClientIndex, labels: LabelsOf, first: int, end: int, schema: Any) -> Any:
    import pyarrow as pa

    encoded = [client_id.encode() for client_id in index.client_ids[first:end]]
    offsets = np.cumsum([0, *map(len, encoded)]).astype(np.int32)
    bits = pa.py_buffer(np.packbits(index.held_out[first:end], bitorder="little"))
    columns = [
        pa.Array.from_buffers(
            pa.string(),
            len(encoded),
            [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))],
        ),
        pa.Array.from_buffers(pa.bool_(), len(encoded), [None, bits]),
    ]
    columns += [_int32(index.counts(split)[first:end]) for split in SPLITS]
    for split in SPLITS:
        counts = labels(split, first, end)
        kind = schema.field(f"{split}_labels").type
        pairs = pa.StructArray.from_arrays(
            [_int32(counts.labels), _int32(counts.counts)], fields=list(kind.value_type)
        )
        columns.append(
            pa.Array.from_buffers(
                kind,
                len(counts),
                [None, pa.py_buffer(counts.starts.astype(np.int32))],
                children=[pairs],
            )
        )
    return pa.Table.from_arrays(columns, schema=schema)


def _int32(values: Ints) -> Any:
    import pyarrow as pa

    return pa.Array.from_buffers(
        pa.int32(), len(values), [None, pa.py_buffer(np.ascontiguousarray(values, "<i4"))]
    )


def read_index(path: Path, num_classes: int) -> ClientIndex:
    """Return the index in a file that is known to be whole.

    Raises:
        DataError: it is no index; its label counts raise the same when they are read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            if not pa.types.is_int32(file.schema_arrow.field("train").type):
                return _read_dense(file, num_classes)
            table = file.read(columns=["client_id", "held_out", *SPLITS], use_threads=False)
            index = ClientIndex(
                _ids(table["client_id"]),
                _flat(table["held_out"], len(table), _bits),
                _LabelsInFile(path, num_classes),
                {split: _flat(table[split], len(table), _int32s) for split in SPLITS},
            )
    except (pa.ArrowException, OSError, KeyError, ValueError) as err:
        raise _no_index(path, err) from err
    del table
    pa.default_memory_pool().release_unused()  # what decoding took: several times what is kept
    return index


class _LabelsInFile(Mapping[Split, LabelCounts]):
    """The label counts in an index file, read at each call."""

    def __init__(self, path: Path, num_classes: int) -> None:
        self._path = path
        self._num_classes = num_classes

    def __getitem__(self, split: Split) -> LabelCounts:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(self._path) as file:
                column = file.read(columns=[f"{split}_labels"], use_threads=False)[
                    f"{split}_labels"
                ]
                return joined([_pairs(chunk, self._num_classes) for chunk in column.chunks])
        except (pa.ArrowException, OSError, KeyError, ValueError) as err:
            raise _no_index(self._path, err) from err

    def __iter__(self) -> Iterator[Split]:
        return iter(SPLITS)

    def __len__(self) -> int:
        return len(SPLITS)


def _pairs(chunk: Any, num_classes: int) -> LabelCounts:
    starts = np.frombuffer(chunk.buffers()[1], "<i4")[
        chunk.offset : chunk.offset + len(chunk) + 1
    ].astype(np.int64)
    pairs = chunk.values
    children = [pairs.field(name) for name in ("label", "count")]
    labels, counts = (
        _int32s(child)[child.offset :][starts[0] : starts[-1]].copy() for child in children
    )
    return LabelCounts(starts - starts[0], labels, counts, num_classes)


def _read_dense(file: Any, num_classes: int) -> ClientIndex:
    """Return an index in the earlier layout: the counts of all labels in each row."""
    ids, held_out, parts = [], [], {split: [] for split in SPLITS}  # type: ignore[var-annotated]
    for group in range(file.num_row_groups):
        table = file.read_row_group(group, use_threads=False)
        ids += table["client_id"].to_pylist()
        held_out.append(_flat(table["held_out"], len(table), _bits))
        for split in SPLITS:
            flats = [chunk.flatten() for chunk in table[split].chunks if len(chunk)]
            dense = np.concatenate(
                [_int32s(flat)[flat.offset : flat.offset + len(flat)] for flat in flats]
            )
            if dense.size != len(table) * num_classes:
                raise ValueError(
                    f"{dense.size} counts for {len(table)} clients and {num_classes} labels"
                )
            parts[split].append(LabelCounts.of_dense(dense.reshape(len(table), num_classes)))
    return ClientIndex(
        ClientIds.of(ids),
        np.concatenate(held_out),
        {split: joined(parts[split]) for split in SPLITS},
    )


def _no_index(path: Path, err: Exception) -> DataError:
    return DataError(
        f"{path}: expected the index of the clients, found {' '.join(str(err).split())}. "
        f"{how_to_restore(path.parent)}"
    )


def _bits(chunk: Any) -> Bools:
    return np.unpackbits(np.frombuffer(chunk.buffers()[1], np.uint8), bitorder="little").astype(
        np.bool_
    )


def _int32s(array: Any) -> Int32s:
    if len(array):
        return np.frombuffer(array.buffers()[1], "<i4").astype(np.int32, copy=False)
    return np.zeros(0, np.int32)


def _flat(column: Any, count: int, values: Callable[[Any], Array]) -> Any:
    """Return the values of a column as one array of `count`."""
    parts = [
        values(chunk)[chunk.offset : chunk.offset + len(chunk)]
        for chunk in column.chunks
        if len(chunk)
    ]
    joined_parts = np.concatenate(parts) if parts else np.zeros(0, np.bool_)
    if len(joined_parts) != count:
        raise ValueError(f"{len(joined_parts)} values of {count} clients")
    return joined_parts


def _ids(column: Any) -> ClientIds:
    texts = []
    ends = [np.zeros(1, np.int64)]
    for chunk in column.chunks:
        offsets = np.frombuffer(chunk.buffers()[1], "<i4")[
            chunk.offset : chunk.offset + len(chunk) + 1
        ].astype(np.int64)
        if len(chunk):
            texts.append(bytes(memoryview(chunk.buffers()[2])[offsets[0] : offsets[-1]]))
            ends.append(offsets[1:] - offsets[0] + ends[-1][-1])
    return ClientIds(b"".join(texts), np.concatenate(ends))
