"""From a source to the shards: read, give to clients, split, write. docs/data.md says the same in words, for users."""

import hashlib
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fedpipe.config import DataConfig
from fedpipe.data.index import INDEX_NAME, ClientIndex, write_index
from fedpipe.data.manifest import MANIFEST_NAME, SCHEMA_VERSION, SPLITS, IndexFile, Manifest, ShardFile, ShardSplit, Split
from fedpipe.data.partition import client_names, partition_pool
from fedpipe.data.pool import Pool, read_pool
from fedpipe.data.replace import replaced_folder
from fedpipe.data.shards import SplitRows, write_split
from fedpipe.data.sources import PixelConvention, open_source
from fedpipe.data.splits import Rows, draw_central, held_out, keep_split, split_clients, split_off
from fedpipe.errors import DataError, shorten

_DTYPES: dict[str, Literal["uint8", "int32", "float32"]] = {"uint8": "uint8", "int32": "int32", "float32": "float32"}
_OTHER_CONVENTION: dict[PixelConvention | None, PixelConvention] = {"ink=1.0": "background=1.0", "background=1.0": "ink=1.0"}


@dataclass(frozen=True)
class _Clients:
    """Who has which example: int32 owner [n], -1 for an example that nobody has."""

    client_ids: tuple[str, ...]
    owner: npt.NDArray[np.int32]
    partition: Literal["natural", "iid", "dirichlet", "pathological", "quantity"]


def prepare_shards(config: DataConfig, out: Path, project: Path, forgotten: Collection[str] = ()) -> Manifest:
    """Write the shards and the manifest of `config` into the folder `out`, and return the manifest.

    `out` is replaced wholly, in one step: a failure or a kill leaves it as it was. The same settings, source and pyarrow give
    the same bytes.

    Args:
        config: the settings under `data`.
        out: folder to make or replace; a folder that holds anything but shards is refused.
        project: folder that `data.path` and `data.cache_dir` are relative to.
        forgotten: ids of clients whose examples are left out.

    Raises:
        DataError: the source cannot be read or does not fit the settings, or `out` cannot be written.
    """
    _refuse_foreign(out)
    where = f"data.source={config.source}"
    source = open_source(config, project)
    try:
        with replaced_folder(out) as folder, tempfile.TemporaryFile(dir=folder) as features:
            pool = read_pool(source, where, features, config.memory_limit_mb)
            if config.invert and pool.x.dtype == np.int32:
                raise DataError(f"data.invert=true: expected features that are drawings, {where} has int32 tokens. Set it to false.")
            clients = _forget(_clients(config, pool), forgotten)
            splits = _splits(config, pool, clients)
            _refuse_unusable(where, clients, splits)
            central = draw_central(len(splits["test"]), config.central_test_examples, config.seed)
            files = []
            parts: dict[ShardSplit, Rows] = {**splits, "central": splits["test"][central]}  # type: ignore[dict-item]  # a Split is one
            for name, rows in parts.items():
                part = SplitRows(clients.client_ids, clients.owner[rows], pool.y[rows], rows, lambda some: _features(config, pool, some))
                files += write_split(folder, name, part, config.shard_rows)
            counts = {name: _label_counts(pool, clients, rows) for name, rows in splits.items()}
            index = ClientIndex(clients.client_ids, held_out(clients.client_ids, config.held_out_fraction, config.seed), counts)
            write_index(folder / INDEX_NAME, index)
            manifest = _manifest(config, pool, clients, index, splits, int(central.sum()), sorted(forgotten), files, folder)
            if source.summary is not None:
                manifest = manifest.model_copy(update={"understood": source.summary()})
            (folder / MANIFEST_NAME).write_text(manifest.to_json(), encoding="ascii")
    except OSError as err:
        raise DataError(f"{out}: expected to write shards there, found {err}. Free the place or choose another folder.") from err
    return manifest


def _clients(config: DataConfig, pool: Pool) -> _Clients:
    if config.partition in ("auto", "natural") and pool.client_ids is not None and pool.owner is not None:
        ids = pool.client_ids[: config.clients]
        return _Clients(ids, np.where(pool.owner < len(ids), pool.owner, np.int32(-1)), "natural")
    if config.partition == "natural":
        raise DataError(f"data.partition=natural: expected clients, data.source={config.source} has none. Set another partition.")
    if config.clients is None:
        raise DataError(f"data.clients=null: expected a number, as data.source={config.source} has no clients of its own. Set one.")
    method = "dirichlet" if config.partition == "auto" else config.partition
    return _Clients(client_names(config.clients), partition_pool(pool.y, config, method), method)


def _forget(clients: _Clients, forgotten: Collection[str]) -> _Clients:
    """Leave out the forgotten clients and their examples; every other client keeps its own."""
    kept = np.array([client_id not in forgotten for client_id in clients.client_ids], np.bool_)
    if kept.all():
        return clients
    if not kept.any():
        raise DataError("forgotten.json: expected at least one client that is not forgotten, found none. Remove an id from the list.")
    number = np.where(kept, np.cumsum(kept) - 1, -1).astype(np.int32)
    owner = np.where(clients.owner >= 0, number[clients.owner], np.int32(-1))
    return _Clients(tuple(np.array(clients.client_ids, object)[kept]), owner, clients.partition)


def _splits(config: DataConfig, pool: Pool, clients: _Clients) -> dict[Split, Rows]:
    """Return the rows of each split, client by client."""
    owned = np.flatnonzero(clients.owner >= 0)
    if pool.is_test is not None:
        train, test = keep_split(clients.owner[owned], pool.is_test[owned])
    else:
        train, test = split_clients(clients.owner[owned], clients.client_ids, config.test_fraction, config.seed)
    train, test = owned[train], owned[test]
    train, validation = split_off(clients.owner, train, clients.client_ids, config.validation_fraction, config.seed, "validation")
    return {"train": train, "validation": validation, "test": test}


def _features(config: DataConfig, pool: Pool, rows: Rows) -> npt.NDArray[Any]:
    x = pool.x.take(rows)
    return np.subtract(x.dtype.type(255 if x.dtype == np.uint8 else 1), x) if config.invert else x


def _label_counts(pool: Pool, clients: _Clients, rows: Rows) -> npt.NDArray[np.int32]:
    size = len(clients.client_ids) * pool.num_classes
    counts = np.bincount(clients.owner[rows].astype(np.int64) * pool.num_classes + pool.y[rows], minlength=size)
    return counts.astype(np.int32).reshape(-1, pool.num_classes)


def _manifest(
    config: DataConfig,
    pool: Pool,
    clients: _Clients,
    index: ClientIndex,
    splits: dict[Split, Rows],
    central: int,
    forgotten: Sequence[str],
    files: Sequence[ShardFile],
    folder: Path,
) -> Manifest:
    import pyarrow as pa

    body = (folder / INDEX_NAME).read_bytes()
    return Manifest(
        schema_version=SCHEMA_VERSION,
        source=config.source,
        source_version=f"sha256:{pool.sha256}",
        pixel_convention=_OTHER_CONVENTION.get(pool.pixel_convention) if config.invert else pool.pixel_convention,
        inverted=config.invert,
        partition=clients.partition,
        alpha=config.alpha if clients.partition == "dirichlet" else None,
        labels_per_client=config.labels_per_client if clients.partition == "pathological" else None,
        sigma=config.sigma if clients.partition == "quantity" else None,
        seed=config.seed,
        test_fraction=None if pool.is_test is not None else config.test_fraction,
        validation_fraction=config.validation_fraction,
        held_out_fraction=config.held_out_fraction,
        feature_shape=pool.x.shape,
        feature_dtype=_DTYPES[pool.x.dtype.name],
        variable_length=pool.x.lengths is not None,
        num_classes=pool.num_classes,
        vocabulary=pool.vocabulary,
        clients=len(clients.client_ids),
        held_out_clients=int(index.held_out.sum()),
        examples={split: len(splits[split]) for split in SPLITS},
        central_test_examples=central,
        forgotten=tuple(forgotten),
        index=IndexFile(name=INDEX_NAME, rows=len(clients.client_ids), bytes=len(body), sha256=hashlib.sha256(body).hexdigest()),
        files=tuple(files),
        written_by=f"pyarrow {pa.__version__}",
        notes=pool.notes,
    )


def _refuse_unusable(where: str, clients: _Clients, splits: dict[Split, Rows]) -> None:
    tests = len(splits["test"])
    if not clients.client_ids or not tests:
        raise DataError(f"{where}: expected clients with test examples, found {len(clients.client_ids)} clients and {tests} test examples.")
    empty = np.flatnonzero(np.bincount(clients.owner[splits["train"]], minlength=len(clients.client_ids)) == 0)
    if len(empty):
        raise DataError(
            f"{where}: expected training examples of every client, found none of {shorten(clients.client_ids[i] for i in empty)}."
        )


def _refuse_foreign(out: Path) -> None:
    """Refuse to replace what fedpipe did not make: a mistyped folder would be lost."""
    try:
        foreign = sorted(path.name for path in out.iterdir() if path.name != MANIFEST_NAME and path.suffix != ".parquet")
    except FileNotFoundError:
        return
    except OSError as err:
        raise DataError(f"{out}: expected a folder for shards, found {err}. Choose another.") from err
    if foreign:
        raise DataError(f"{out}: expected shards or nothing, found {shorten(foreign)}, which would be lost. Choose another folder.")
