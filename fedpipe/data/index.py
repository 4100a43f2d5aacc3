"""The index of a population: a row a client, held as columns, so that 100,000 clients open in a second and cost little memory.

It lies beside the shards as `clients.parquet`: `client_id`, `held_out`, and for each split the number of examples of each label.
The rows of a split are sorted by client, so the counts also say where in the shards a client's rows are.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedpipe.data.manifest import SPLITS, Split, how_to_restore
from fedpipe.errors import DataError

# As in `shards`: pyarrow's conversions of lists and to NumPy import pandas, a third of a second; buffers do not.
INDEX_NAME: Final = "clients.parquet"


@dataclass(frozen=True, eq=False)
class ClientIndex:
    """The clients of a population.

    Attributes:
        client_ids: sorted.
        held_out: bool [clients]: never trains.
        label_counts: split -> int32 [clients, num_classes], examples of each label.
    """

    client_ids: tuple[str, ...]
    held_out: npt.NDArray[np.bool_]
    label_counts: Mapping[Split, npt.NDArray[np.int32]]

    def counts(self, split: Split) -> npt.NDArray[np.int64]:
        """Return int64 [clients]: examples of each client in a split."""
        counts: npt.NDArray[np.int64] = self.label_counts[split].sum(axis=1, dtype=np.int64)
        return counts

    def position(self, client_id: str) -> int | None:
        """Return the index of a client, or None if it is not there."""
        index = bisect_left(self.client_ids, client_id)
        return index if index < len(self.client_ids) and self.client_ids[index] == client_id else None


def write_index(path: Path, index: ClientIndex) -> None:
    """Write the index: the same bytes for the same clients."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    encoded = [client_id.encode() for client_id in index.client_ids]
    offsets = np.cumsum([0, *map(len, encoded)]).astype(np.int32)
    ids = pa.Array.from_buffers(pa.string(), len(encoded), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))])
    bits = pa.py_buffer(np.packbits(index.held_out, bitorder="little"))
    columns = {"client_id": ids, "held_out": pa.Array.from_buffers(pa.bool_(), len(encoded), [None, bits])}
    for split in SPLITS:
        counts = np.ascontiguousarray(index.label_counts[split], "<i4")
        flat = pa.Array.from_buffers(pa.int32(), counts.size, [None, pa.py_buffer(counts)])
        columns[split] = pa.FixedSizeListArray.from_arrays(flat, counts.shape[1])
    fields = [pa.field(name, column.type, nullable=False) for name, column in columns.items()]
    table = pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields))
    pq.write_table(table, path, version="2.6", data_page_version="1.0", compression="zstd", store_schema=False)


def read_index(path: Path, num_classes: int) -> ClientIndex:
    """Return the index in a file that is known to be whole.

    Raises:
        DataError: it is no index, or has another number of labels.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read(use_threads=False)
        ids = tuple(table["client_id"].to_pylist())
        held_out = _flat(table["held_out"], len(ids), lambda chunk: np.unpackbits(_bytes(chunk), bitorder="little").astype(np.bool_))
        counts = {split: _counts(table[split], len(ids), num_classes) for split in SPLITS}
    except (pa.ArrowException, OSError, KeyError, ValueError) as err:
        raise DataError(
            f"{path}: expected the index of the clients, found {' '.join(str(err).split())}. {how_to_restore(path.parent)}"
        ) from err
    del table
    pa.default_memory_pool().release_unused()  # what decoding took: several times what is kept
    return ClientIndex(ids, held_out, counts)


def _bytes(chunk: Any) -> npt.NDArray[np.uint8]:
    return np.frombuffer(chunk.buffers()[1], np.uint8)


def _flat(column: Any, count: int, values: Any) -> Any:
    """Return the values of a column as one array of `count`."""
    parts = [values(chunk)[chunk.offset : chunk.offset + len(chunk)] for chunk in column.chunks if len(chunk)]
    joined = np.concatenate(parts) if parts else np.zeros(0, np.bool_)
    if len(joined) != count:
        raise ValueError(f"{len(joined)} values of {count} clients")
    return joined


def _counts(column: Any, clients: int, num_classes: int) -> npt.NDArray[np.int32]:
    flats = [chunk.flatten() for chunk in column.chunks if len(chunk)]
    parts = [np.frombuffer(flat.buffers()[1], "<i4")[flat.offset : flat.offset + len(flat)] for flat in flats]
    flat = np.concatenate(parts) if parts else np.zeros(0, np.int32)
    if flat.size != clients * num_classes:
        raise ValueError(f"{flat.size} counts for {clients} clients and {num_classes} labels")
    return flat.astype(np.int32, copy=False).reshape(clients, num_classes)
