"""Prepares shards from a source: reads it, assigns its examples to clients, splits and writes them.
docs/data.md describes it for users.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from fedpipe.config import DataConfig
from fedpipe.config.preprocess import ScaleSettings
from fedpipe.config.task import TaskKind
from fedpipe.data.array_types import Array, Bools, Int32s, Int64s
from fedpipe.data.client_ids import ClientIds
from fedpipe.data.disk_columns import (
    ClientRows,
    DiskColumn,
    Scratch,
    chunk_bounds,
    rows_by_client,
)
from fedpipe.data.index import INDEX_NAME, ClientIndex, write_index
from fedpipe.data.label_counts import LabelCounts, LabelCountsOnDisk
from fedpipe.data.manifest import (
    MANIFEST_NAME,
    SCHEMA_VERSION,
    SPLITS,
    IndexFile,
    Manifest,
    ShardFile,
    Split,
    TargetRange,
    Targets,
)
from fedpipe.data.pool import Pool, read_pool
from fedpipe.data.pool_clients import PoolClients, clients_of
from fedpipe.data.preprocess.fit import Preprocessor, TrainingRows, fit_steps
from fedpipe.data.preprocess.image_settings import reading_steps
from fedpipe.data.replace_folder import replaced_folder
from fedpipe.data.shards import SplitRows, SplitWriter, write_split
from fedpipe.data.sources import PixelConvention, open_source
from fedpipe.data.splits import (
    Rows,
    draw_central,
    held_out,
    keep_split,
    split_clients,
    split_off,
    test_counts,
)
from fedpipe.data.targets import TargetSums
from fedpipe.errors import DataError, shorten

_DTYPES: dict[str, Literal["uint8", "int32", "float32"]] = {
    "uint8": "uint8",
    "int32": "int32",
    "float32": "float32",
}
_OTHER_CONVENTION: dict[PixelConvention | None, PixelConvention] = {
    "ink=1.0": "background=1.0",
    "background=1.0": "ink=1.0",
}

_SORTING_SHARE = 4
"""The rows that are sorted and split at once may take the memory limit divided by this."""


def prepare_shards(
    config: DataConfig,
    out: Path,
    project: Path,
    forgotten: Collection[str] = (),
    kind: TaskKind = "classification",
) -> Manifest:
    """Write the shards and the manifest of `config` into the folder `out`, and return the manifest.

    `out` is replaced wholly, in one step: a failure or a kill leaves it as it was. The same
    settings, source and pyarrow give the same bytes.

    Args:
        config: the settings under `data`.
        out: folder to make or replace; a folder that holds anything but shards is refused.
        project: folder that `data.path` and `data.cache_dir` are relative to.
        forgotten: ids of clients whose examples are left out.
        kind: `task.kind`, by which the labels are read.

    Raises:
        DataError: the source cannot be read or does not fit the settings, or `out` cannot be
            written.
    """
    _refuse_foreign(out)
    where = f"data.source={config.source}"
    source = open_source(config, project, kind)
    makes_clients = config.partition not in ("auto", "natural")
    try:
        with replaced_folder(out) as folder, Scratch(folder) as scratch:
            pool = read_pool(
                source,
                where,
                scratch,
                config.memory_limit_mb,
                makes_clients,
                kind,
                config.label_columns,
            )
            if config.invert and pool.x.dtype == np.int32:
                raise DataError(
                    f"data.invert=true: expected features that are drawings, {where} has int32 "
                    "tokens. Set it to false."
                )
            clients = clients_of(config, pool, forgotten)
            understood = source.summary() if source.summary is not None else None
            preprocessor = None
            if config.preprocess:
                texts = source.texts() if source.texts is not None else {}
                columns = understood.columns if understood is not None else ()
                preprocessor = _preprocessor(
                    config, pool, clients, columns=columns, texts=texts, scratch=scratch
                )
                _fit(config, where, pool, clients, preprocessor, scratch, project)
            shards = _write_shards(config, where, pool, clients, folder, scratch, preprocessor)
            manifest = _manifest(config, pool, clients, shards, sorted(forgotten), folder)
            if preprocessor is not None:
                manifest = _with_steps(manifest, preprocessor)
            if understood is not None:
                manifest = manifest.model_copy(update={"understood": understood})
            (folder / MANIFEST_NAME).write_text(manifest.to_json(), encoding="ascii")
    except OSError as err:
        raise DataError(
            f"{out}: expected to write shards there, found {err}. Free some disk space, or choose "
            "another folder."
        ) from err
    return manifest


@dataclass(frozen=True)
class _Shards:
    """What was written: the files, the examples of each split and of the central test set, how many
    clients never train, notes, the ranges of the targets of regression.
    """

    files: list[ShardFile]
    examples: dict[Split, int]
    central: int
    held_out: int
    notes: tuple[str, ...]
    ranges: tuple[TargetRange, ...]


def _raw_features(config: DataConfig, pool: Pool, rows: Rows) -> Array:
    """Return the features of rows of the source, before any step of preprocessing."""
    x = pool.x.take(rows)
    if config.invert:
        return np.subtract(x.dtype.type(255 if x.dtype == np.uint8 else 1), x)
    return x


def _groups(
    config: DataConfig, pool: Pool, clients: PoolClients, scratch: Scratch
) -> Iterator[ClientRows]:
    """Yield all examples that have a client, sorted by client, some clients at a time."""

    def columns(start: int, end: int) -> tuple[Int32s, Int32s, Bools | None]:
        return clients.owner(start, end), pool.y(start, end), pool.is_test(start, end)

    most_bytes = config.memory_limit_mb * 1_000_000 // _SORTING_SHARE
    return rows_by_client(columns, pool.count, clients.sizes, most_bytes, scratch)


def _never_trains(config: DataConfig, clients: PoolClients, counts: dict[Split, Int64s]) -> Bools:
    """Return bool [clients]: held out, or without training examples."""
    chosen = held_out(clients.client_ids, config.held_out_fraction, config.seed)
    never: Bools = chosen | (counts["train"] == 0)
    return never


def _preprocessor(
    config: DataConfig,
    pool: Pool,
    clients: PoolClients,
    *,
    columns: tuple[str, ...],
    texts: Mapping[str, Sequence[str]],
    scratch: Scratch,
) -> Preprocessor:
    """Return what preprocesses the examples of a pool; no step is fitted yet."""
    if pool.x.shape != (len(columns),):
        columns = ()  # data.feature_shape made an array of them
    owners = None
    if any(isinstance(step, ScaleSettings) and step.per == "client" for step in config.preprocess):
        column = DiskColumn(scratch, np.int32)
        for start, end in chunk_bounds(pool.count):
            column.append(clients.owner(start, end))
        owners = column
    return Preprocessor(
        raw=partial(_raw_features, config, pool),
        dtype=pool.x.dtype,
        shape=pool.x.shape,
        columns=columns,
        texts=texts,
        count=pool.count,
        images=reading_steps(config.preprocess) if config.source == "images" else (),
        owners=owners,
    )


def _fit(
    config: DataConfig,
    where: str,
    pool: Pool,
    clients: PoolClients,
    preprocessor: Preprocessor,
    scratch: Scratch,
    project: Path,
) -> None:
    """Fit the steps on the training examples of participating clients.

    A client without training examples scales by all its examples, where each client scales by its
    own.
    """
    ids = clients.client_ids
    counts = _split_sizes(config, pool, clients)
    out = _never_trains(config, clients, counts)
    _refuse_unusable(config, where, counts, out)
    training = TrainingRows(scratch, len(ids))
    for group in _groups(config, pool, clients, scratch):
        splits = _splits(config, pool, group, ids)
        untrained = np.flatnonzero(counts["train"][group.owner] == 0)
        places = np.concatenate([splits["train"], untrained])
        places = places[np.argsort(group.owner[places], kind="stable")]
        owner = group.owner[places]
        training.add(owner, group.row[places], ~out[owner])
    fit_steps(config.preprocess, preprocessor, training, scratch, config.memory_limit_mb, project)


def _with_steps(manifest: Manifest, preprocessor: Preprocessor) -> Manifest:
    """Return the manifest with the fitted steps, and the shape and dtype that they make."""
    steps = preprocessor.fitted()
    x = preprocessor.features(preprocessor.first_row)
    version = manifest.source_version
    if preprocessor.texts:
        texts = json.dumps(preprocessor.texts, sort_keys=True)
        version = f"sha256:{hashlib.sha256((version + texts).encode()).hexdigest()}"
    return manifest.model_copy(
        update={
            "source_version": version,
            "feature_shape": x.shape[1:],
            "feature_dtype": _DTYPES[x.dtype.name],
            "variable_length": manifest.variable_length and x.dtype == np.int32,
            "notes": (*manifest.notes, *preprocessor.notes, *steps.notes(preprocessor.texts)),
            "preprocess": steps.to_json(),
            "targets": _with_tokens(manifest.targets, steps.tokens),
        }
    )


def _with_tokens(targets: Targets | None, tokens: int | None) -> Targets | None:
    """Return the targets, of `tokens` those that the steps make."""
    if targets is None or targets.kind != "tokens" or tokens is None:
        return targets
    return targets.model_copy(update={"outputs": tokens})


def _write_shards(
    config: DataConfig,
    where: str,
    pool: Pool,
    clients: PoolClients,
    folder: Path,
    scratch: Scratch,
    preprocessor: Preprocessor | None,
) -> _Shards:
    """Sort the examples by client, split each client's, and write the files and the index."""
    ids = clients.client_ids
    counts = _split_sizes(config, pool, clients)
    out = _never_trains(config, clients, counts)
    _refuse_unusable(config, where, counts, out)
    chosen = draw_central(int(counts["test"].sum()), config.central_test_examples, config.seed)
    features: Callable[[Rows], Array] = partial(_raw_features, config, pool)
    if preprocessor is not None:
        features = preprocessor.features
    targets = None if pool.targets is None else pool.targets.rows.take
    sums = None
    if pool.targets is not None and pool.kind == "regression":
        sums = TargetSums(pool.targets.rows)
    writers = {
        name: SplitWriter(folder, name, ids, counts[name], config.shard_rows, features, targets)
        for name in SPLITS
    }
    labels = {name: LabelCountsOnDisk(scratch, pool.num_classes) for name in SPLITS}
    central: list[ClientRows] = []
    tests = 0
    for group in _groups(config, pool, clients, scratch):
        for name, rows in _splits(config, pool, group, ids).items():
            split_rows = group.take(rows)
            writers[name].add(split_rows.owner, split_rows.y, split_rows.row)
            number = split_rows.owner - group.first
            labels[name].add(
                LabelCounts.count(number, split_rows.y, group.end - group.first, pool.num_classes)
            )
            if name == "train" and sums is not None:
                sums.add(split_rows.row[~out[split_rows.owner]])
            if name == "test":
                central.append(split_rows.take(chosen[tests : tests + len(rows)]))
                tests += len(rows)
    owner, y, source_row = (
        np.concatenate([getattr(rows, name) for rows in central]) for name in ("owner", "y", "row")
    )
    central_rows = SplitRows(ids, owner, y, source_row, features, targets)
    files = [file for name in SPLITS for file in writers[name].files]
    files += write_split(folder, "central", central_rows, config.shard_rows)
    examples = {name: counts[name].astype(np.int32) for name in SPLITS}
    index = ClientIndex(ClientIds.of(ids), out, {}, examples)
    write_index(folder / INDEX_NAME, index, lambda name, first, end: labels[name].read(first, end))
    totals = {name: int(counts[name].sum()) for name in SPLITS}
    ranges = sums.ranges() if sums is not None else ()
    return _Shards(files, totals, len(owner), int(out.sum()), _split_notes(counts), ranges)


def _split_sizes(config: DataConfig, pool: Pool, clients: PoolClients) -> dict[Split, Int64s]:
    """Return int64 [clients] for each split, how many of each client's examples it will have."""
    tests = clients.tests if pool.has_split else test_counts(clients.sizes, config.test_fraction)
    trains = clients.sizes - tests
    validations = test_counts(trains, config.validation_fraction)
    return {"train": trains - validations, "validation": validations, "test": tests}


def _splits(
    config: DataConfig, pool: Pool, group: ClientRows, client_ids: Sequence[str]
) -> dict[Split, Rows]:
    """Return for each split the places in `group` of its rows, client by client."""
    owner = group.owner - np.int32(group.first)
    ids = client_ids[group.first : group.end]
    if pool.has_split:
        train, test = keep_split(owner, group.is_test)
    else:
        train, test = split_clients(owner, ids, config.test_fraction, config.seed)
    train, validation = split_off(
        owner, train, ids, config.validation_fraction, config.seed, "validation"
    )
    return {"train": train, "validation": validation, "test": test}


def _split_notes(counts: dict[Split, Int64s]) -> tuple[str, ...]:
    clients = len(counts["train"])
    notes = []
    if untrained := int((counts["train"] == 0).sum()):
        notes.append(
            f"{untrained:,} of {clients:,} clients have test examples alone: they never train and "
            "take part in evaluation"
        )
    if untested := int((counts["test"] == 0).sum()):
        notes.append(
            f"{untested:,} of {clients:,} clients have no test examples: they train and take no "
            "part in the evaluation of clients"
        )
    return tuple(notes)


def _manifest(
    config: DataConfig,
    pool: Pool,
    clients: PoolClients,
    shards: _Shards,
    forgotten: Sequence[str],
    folder: Path,
) -> Manifest:
    import pyarrow as pa

    path = folder / INDEX_NAME
    count = len(clients.client_ids)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Manifest(
        schema_version=SCHEMA_VERSION,
        source=config.source,
        source_version=f"sha256:{pool.sha256}",
        pixel_convention=_OTHER_CONVENTION.get(pool.pixel_convention)
        if config.invert
        else pool.pixel_convention,
        inverted=config.invert,
        partition=clients.partition,
        alpha=config.alpha if clients.partition == "dirichlet" else None,
        labels_per_client=config.labels_per_client if clients.partition == "pathological" else None,
        sigma=config.sigma if clients.partition == "quantity" else None,
        seed=config.seed,
        test_fraction=None if pool.has_split else config.test_fraction,
        validation_fraction=config.validation_fraction,
        held_out_fraction=config.held_out_fraction,
        feature_shape=pool.x.shape,
        feature_dtype=_DTYPES[pool.x.dtype.name],
        variable_length=pool.x.starts is not None,
        num_classes=pool.num_classes,
        vocabulary=pool.vocabulary,
        clients=count,
        held_out_clients=shards.held_out,
        examples=shards.examples,
        central_test_examples=shards.central,
        forgotten=tuple(forgotten),
        index=IndexFile(name=INDEX_NAME, rows=count, bytes=path.stat().st_size, sha256=digest),
        files=tuple(shards.files),
        written_by=f"pyarrow {pa.__version__}",
        notes=(*pool.notes, *clients.notes, *shards.notes),
        targets=_targets(pool, shards),
    )


def _targets(pool: Pool, shards: _Shards) -> Targets | None:
    """Return what the labels are; None of classification."""
    match pool.kind:
        case "classification":
            return None
        case "binary":
            return Targets(kind="binary", names=pool.vocabulary or ("0", "1"), outputs=1)
        case "tokens":
            return Targets(kind="tokens", names=(), outputs=max(2, pool.tokens or 0))
        case kind:
            names = pool.targets.names if pool.targets is not None else ()
            return Targets(kind=kind, names=names, outputs=len(names), ranges=shards.ranges)


def _refuse_unusable(
    config: DataConfig,
    where: str,
    counts: dict[Split, Int64s],
    held_out_clients: Bools,
) -> None:
    clients = len(counts["test"])
    tests = int(counts["test"].sum())
    if not clients or not tests:
        hint = " A client with one example trains with it." if clients else ""
        raise DataError(
            f"{where}: expected clients with test examples, found {clients} clients and {tests} "
            f"test examples.{hint} Bring a test split, or clients with two examples or more: "
            "data.partition=iid makes some."
        )
    if held_out_clients.all():
        held = "in the source's training split"
        if counts["train"].any():
            held = "that are not held out by data.held_out_fraction"
        raise DataError(
            f"{where}: expected clients with training examples {held}, found none of {clients} "
            "clients. Lower data.held_out_fraction, or correct the marks of the test split."
        )
    if config.validation_fraction and not counts["validation"].any():
        raise DataError(
            f"data.validation_fraction={config.validation_fraction}: expected clients with two "
            "training examples or more, of which some could be validation examples, found none. "
            "Set it to 0, or make fewer clients (data.clients)."
        )


def _refuse_foreign(out: Path) -> None:
    """Refuse to replace what fedpipe did not make: a mistyped folder would be lost."""
    try:
        foreign = sorted(
            path.name
            for path in out.iterdir()
            if path.name != MANIFEST_NAME and path.suffix != ".parquet"
        )
    except FileNotFoundError:
        return
    except OSError as err:
        raise DataError(
            f"{out}: expected a folder for shards, found {err}. Choose another."
        ) from err
    if foreign:
        raise DataError(
            f"{out}: expected shards or nothing, found {shorten(foreign)}, which would be lost. "
            "Choose another folder."
        )
