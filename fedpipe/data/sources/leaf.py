"""Source `leaf`: the JSON files of LEAF (Caldas et al. 2018, "LEAF: A Benchmark for Federated
Settings", arXiv 1812.01097).
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fedpipe.config import DataConfig
from fedpipe.config.task import TaskKind
from fedpipe.data.sources.base import Batch, Source
from fedpipe.data.sources.feature_checks import check_features, check_sequences
from fedpipe.data.sources.places import BatchPlace, own_path, unreadable
from fedpipe.data.sources.target_checks import checked_batch
from fedpipe.errors import DataError, shorten

_JSON_FACTOR = 8
"""Memory of parsed JSON over the size of its text, about: a Python float for some four
characters.
"""


def open_leaf(config: DataConfig, project: Path, kind: TaskKind = "classification") -> Source:
    """Return the users of a file `{users, num_samples, user_data: {user: {x, y}}}`, of a folder of
    such files, or of a folder with `train/*.json` and `test/*.json`, which gives the test split.

    A file is parsed whole: one that would take more than `data.memory_limit_mb` is refused.

    Raises:
        DataError: nothing is there, a file is not LEAF's, or its counts do not agree.
    """
    path = own_path(config, project)
    return Source(lambda: _batches(config, path, kind))


def _batches(config: DataConfig, path: Path, kind: TaskKind) -> Iterator[Batch]:
    folders: dict[Path, bool | None] = {path: None}
    if (path / "train").is_dir() and (path / "test").is_dir():
        folders = {path / "train": False, path / "test": True}
    files = [
        (file, is_test)
        for folder, is_test in folders.items()
        for file in (sorted(folder.glob("*.json")) if folder.is_dir() else [folder])
    ]
    if not files:
        raise DataError(
            f"{path}: expected LEAF's *.json, or train/*.json and test/*.json, found none. "
            "Correct data.path."
        )
    seen: set[tuple[str, bool | None]] = set()
    for file, is_test in files:
        if path.is_dir() and not file.resolve().is_relative_to(path.resolve()):
            raise DataError(
                f"{file}: expected a file inside {path}, found a link that leads out of it. Copy "
                "the file there."
            )
        body = _parse(config, file)
        for user, data in body.items():
            if (user, is_test) in seen:
                raise DataError(
                    f"{file}: expected each user in one file, found {user[:50]!r} twice. Merge "
                    "the files."
                )
            seen.add((user, is_test))
            if data["y"]:
                yield _batch(config, file, user, data, is_test, kind)


def _batch(
    config: DataConfig,
    file: Path,
    user: str,
    data: dict[str, Any],
    is_test: bool | None,
    kind: TaskKind,
) -> Batch:
    place = BatchPlace(f"{file} (user {user[:50]!r})")
    batch = checked_batch([], data["y"], [user] * len(data["y"]), is_test, place, kind)
    return replace(batch, x=_features(config, data["x"], place))


def _features(config: DataConfig, values: list[Any], place: BatchPlace) -> Any:
    """Return a user's features: texts (LEAF's Shakespeare) as sequences, numbers as vectors."""
    if all(isinstance(text, str) for text in values):
        return check_sequences(values, place)
    try:
        x = np.asarray(values)
    except ValueError as err:
        raise DataError(
            f"{place.source}: expected examples of one shape, found several. Correct them."
        ) from err
    if x.dtype == np.object_:
        x = _with_gaps(values, place)
    if x.ndim == 1:
        x = x.reshape(-1, 1)
    if x.dtype.kind in "iu":  # JSON writes 0.0 as 0 in one user's file and 0.5 in another's
        x = x.astype(np.float64)
    return check_features(x, place, config.feature_dtype)


def _with_gaps(values: list[Any], place: BatchPlace) -> Any:
    """Return values among which some are null, those as NaN, so that they are refused with their
    row.
    """
    try:
        return np.array(values, np.float64)
    except (TypeError, ValueError, OverflowError) as err:
        raise DataError(
            f"{place.source}: expected features that are numbers of one shape, or texts, found "
            "others. Correct them."
        ) from err


def _parse(config: DataConfig, file: Path) -> dict[str, dict[str, Any]]:
    limit = config.memory_limit_mb * 1_000_000 // _JSON_FACTOR
    try:
        if file.stat().st_size > limit:
            raise DataError(
                f"{file}: expected at most {limit / 1e6:.0f} MB of JSON under "
                f"data.memory_limit_mb={config.memory_limit_mb}, found "
                f"{file.stat().st_size / 1e6:.0f} MB. Raise the limit or split the file."
            )
        body = json.loads(file.read_text(encoding="utf-8-sig"), object_pairs_hook=_no_twins)
    except (OSError, ValueError, RecursionError) as err:
        raise unreadable(file, "LEAF's JSON", err) from err
    match body:
        case {"users": list(users), "user_data": dict(data), "num_samples": list(samples)}:
            _require_same_users(file, users, data)
        case _:
            raise DataError(
                f"{file}: expected LEAF's keys users, num_samples and user_data, found something "
                "else. Correct data.path."
            )
    for user, count in zip(users, samples, strict=False):
        examples = data[user]
        if not isinstance(examples, dict) or not all(
            isinstance(examples.get(name), list) for name in ("x", "y")
        ):
            raise DataError(
                f"{file}: expected lists x and y of user {user[:50]!r}, found something else. "
                "Correct it."
            )
        if not len(examples["x"]) == len(examples["y"]) == count:
            counts = f"x of {len(examples['x'])} and y of {len(examples['y'])}"
            raise DataError(
                f"{file}: expected num_samples={count} examples of user {user[:50]!r}, found "
                f"{counts}. Correct it."
            )
    if len(samples) != len(users):
        raise DataError(
            f"{file}: expected a number in num_samples for each of {len(users)} users, found "
            f"{len(samples)}. Correct it."
        )
    return dict(data)


def _require_same_users(file: Path, users: list[Any], data: dict[str, Any]) -> None:
    """Refuse `users` that are not the keys of `user_data`, each once. Raises DataError."""
    not_texts = [user for user in users if not isinstance(user, str)]
    if not_texts:
        raise DataError(
            f"{file}: expected names of users as texts, found {str(not_texts[0])[:50]!r}. Put "
            "them in quotes."
        )
    repeated = [f"{user[:50]!r}" for user, count in Counter(users).items() if count > 1]
    if repeated:
        raise DataError(
            f"{file}: expected each user once in users, found more than once: "
            f"{shorten(repeated, 3)}. Merge their examples."
        )
    unmatched = [f"{user[:50]!r}" for user in sorted(set(users) ^ set(data))]
    if unmatched:
        raise DataError(
            f"{file}: expected the same users in users and user_data, found in one of them alone: "
            f"{shorten(unmatched, 3)}."
        )


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    body = dict(pairs)
    if len(body) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return body
