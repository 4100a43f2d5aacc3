"""From a source to the shards: load, give to clients, split, write. docs/data.md says the same in words, for users."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedpipe.config import DataConfig
from fedpipe.data.manifest import MANIFEST_NAME, SCHEMA_VERSION, Manifest, ShardFile, Split
from fedpipe.data.partition import client_names, dirichlet_partition
from fedpipe.data.replace import replaced_folder
from fedpipe.data.shards import SplitRows, write_split
from fedpipe.data.sources import SOURCES, PixelConvention, SourceData
from fedpipe.data.splits import Rows, draw_central, keep_split, split_clients
from fedpipe.errors import DataError, shorten

_OTHER_CONVENTION: dict[PixelConvention, PixelConvention] = {"ink=1.0": "background=1.0", "background=1.0": "ink=1.0"}


def prepare_shards(config: DataConfig, out: Path, project: Path) -> Manifest:
    """Write the shards and the manifest of `config` into the folder `out`, and return the manifest.

    `out` is replaced wholly, in one step: a failure or a kill leaves it as it was. The same settings, source and pyarrow give
    the same bytes.

    Args:
        config: the settings under `data`.
        out: folder to make or replace; a folder that holds anything but shards is refused.
        project: folder that `data.cache_dir` is relative to.

    Raises:
        DataError: the source cannot be read or does not fit the settings, or `out` cannot be written.
    """
    _refuse_foreign(out)
    source = SOURCES[config.source](config, project)
    client_ids, owner = _clients(config, source)
    train, test = _splits(config, source, client_ids, owner)
    _refuse_unusable(config, source, client_ids, owner[train], len(test))
    central = draw_central(len(test), config.central_test_examples, config.seed)
    parts: dict[Split, SplitRows] = {
        "train": _rows(config, source, client_ids, owner, train, None),
        "test": _rows(config, source, client_ids, owner, test, central),
    }
    try:
        with replaced_folder(out) as folder:
            files = [file for split, rows in parts.items() for file in write_split(folder, split, rows)]
            manifest = _manifest(config, source, parts, int(central.sum()), files)
            (folder / MANIFEST_NAME).write_text(manifest.to_json(), encoding="ascii")
    except OSError as err:
        raise DataError(f"{out}: expected to write shards there, found {err}. Free the place or choose another folder.") from err
    return manifest


def _clients(config: DataConfig, source: SourceData) -> tuple[tuple[str, ...], npt.NDArray[np.int32]]:
    if source.natural is not None:
        return source.natural.client_ids, source.natural.owner
    if config.clients is None:
        raise DataError(f"data.clients=null: expected a number, as data.source={config.source} has no clients of its own. Set one.")
    return client_names(config.clients), dirichlet_partition(source.y, config.clients, config.alpha, config.seed)


def _splits(config: DataConfig, source: SourceData, client_ids: Sequence[str], owner: npt.NDArray[np.int32]) -> tuple[Rows, Rows]:
    if source.natural is not None and source.natural.is_test is not None:
        return keep_split(owner, source.natural.is_test)
    return split_clients(owner, client_ids, config.test_fraction, config.seed)


def _rows(
    config: DataConfig,
    source: SourceData,
    client_ids: tuple[str, ...],
    owner: npt.NDArray[np.int32],
    rows: Rows,
    central: npt.NDArray[np.bool_] | None,
) -> SplitRows:
    x = source.x[rows]
    if config.invert:
        x = np.subtract(x.dtype.type(255 if x.dtype == np.uint8 else 1), x)
    return SplitRows(client_ids, owner[rows], x, source.y[rows], rows, central)


def _manifest(config: DataConfig, source: SourceData, parts: dict[Split, SplitRows], central: int, files: Sequence[ShardFile]) -> Manifest:
    import pyarrow as pa

    natural = source.natural is not None
    own_split = source.natural is not None and source.natural.is_test is not None
    return Manifest(
        schema_version=SCHEMA_VERSION,
        source=config.source,
        source_version=f"sha256:{source.sha256()}",
        pixel_convention=_OTHER_CONVENTION[source.pixel_convention] if config.invert else source.pixel_convention,
        inverted=config.invert,
        partition="natural" if natural else "dirichlet",
        alpha=None if natural else config.alpha,
        seed=config.seed,
        test_fraction=None if own_split else config.test_fraction,
        feature_shape=source.x.shape[1:],
        feature_dtype="uint8" if source.x.dtype == np.uint8 else "float32",
        num_classes=source.num_classes,
        central_test_examples=central,
        label_counts={split: _label_counts(rows, source.num_classes) for split, rows in parts.items()},
        files=tuple(files),
        written_by=f"pyarrow {pa.__version__}",
    )


def _label_counts(rows: SplitRows, num_classes: int) -> dict[str, tuple[int, ...]]:
    counts = np.bincount(rows.owner * num_classes + rows.y, minlength=len(rows.client_ids) * num_classes)
    by_client = counts.reshape(-1, num_classes).tolist()
    return {client_id: tuple(labels) for client_id, labels in zip(rows.client_ids, by_client, strict=True)}


def _refuse_unusable(
    config: DataConfig, source: SourceData, client_ids: Sequence[str], train_owner: npt.NDArray[np.int32], tests: int
) -> None:
    where = f"data.source={config.source}"
    if not client_ids or not tests:
        raise DataError(f"{where}: expected clients with test examples, found {len(client_ids)} clients and {tests} test examples.")
    if source.y.min() < 0 or source.y.max() >= source.num_classes:
        raise DataError(f"{where}: expected labels 0..{source.num_classes - 1}, found {source.y.min()}..{source.y.max()}.")
    empty = np.flatnonzero(np.bincount(train_owner, minlength=len(client_ids)) == 0)
    if len(empty):
        raise DataError(f"{where}: expected training examples of every client, found none of {shorten(client_ids[i] for i in empty)}.")


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
