"""Source `shakespeare`: next-character prediction on the plays, a client a role; TFF's file of
LEAF's data set.

As in LEAF (Caldas et al. 2018, arXiv 1812.01097) an example is 80 characters and its label is the
next one; TFF's own tutorial predicts every position of a sequence instead. The windows of a snippet
do not overlap; what is shorter than 80 is padded by 0.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fedpipe.config import DataConfig
from fedpipe.data.sources.base import Batch, Source
from fedpipe.data.sources.tff_sets import cache_dir, damaged_is_an_error
from fedpipe.data.tff_files import fetch

NEEDS = {
    "shakespeare": "characters of 715 roles, the next one to be predicted; downloaded once, or "
    "put into data.cache_dir by hand"
}

LENGTH = 80
CHARACTERS = (
    "dhlptx@DHLPTX $(,048cgkoswCGKOSW[_#'/37;?bfjnrvzBFJNRVZ\"&*.26:\naeimquyAEIMQUY]!%)-159\r"
)
"""The 86 characters of TFF's text generation tutorial, in its order; tokens are their places from
1.
"""
UNKNOWN = len(CHARACTERS) + 1
NUM_CLASSES = UNKNOWN + 1

_TOKENS = np.full(256, UNKNOWN, np.int32)
_TOKENS[np.frombuffer(CHARACTERS.encode("latin-1"), np.uint8)] = np.arange(1, UNKNOWN)


def open_shakespeare(config: DataConfig, project: Path) -> Source:
    """Return the roles' examples: int32 tokens [80] and the next character's token, with TFF's own
    test split.

    Raises:
        DataError: the file is not there and cannot be downloaded, or it is damaged.
    """
    path = fetch("shakespeare", cache_dir(config, project))
    return Source(lambda: _batches(path, config.clients), NUM_CLASSES)


def _batches(path: Path, most: int | None) -> Iterator[Batch]:
    import tensorflow_federated as tff

    with damaged_is_an_error("shakespeare", path):
        train, test = tff.simulation.datasets.shakespeare.load_data(cache_dir=str(path.parent))
        ids = sorted(train.client_ids)[:most]
        tested = set(test.client_ids)
        for clients, is_test in ((train, False), (test, True)):
            for client_id in (
                ids if not is_test else [tested_id for tested_id in ids if tested_id in tested]
            ):
                snippets = [
                    row["snippets"].numpy()
                    for row in clients.create_tf_dataset_for_client(client_id)
                ]
                windows = [window for snippet in snippets for window in windows_of(snippet)]
                if windows:
                    x = np.stack([x for x, _ in windows])
                    y = np.array([y for _, y in windows], np.int32)
                    yield Batch(x, y, [client_id] * len(y), np.full(len(y), is_test))


def windows_of(snippet: bytes) -> list[tuple[Any, int]]:
    """Return (int32 tokens [80], the next character's token) for each window of a snippet.

    >>> [(x.tolist().count(0), y) for x, y in windows_of(b"d" * 81 + b"hl")]
    [(0, 1), (78, 3)]
    """
    tokens = _TOKENS[np.frombuffer(snippet, np.uint8)]
    windows = []
    for start in range(0, len(tokens) - 1, LENGTH):
        window = tokens[start : min(start + LENGTH, len(tokens) - 1)]
        windows.append(
            (np.pad(window, (0, LENGTH - len(window))), int(tokens[start + len(window)]))
        )
    return windows
