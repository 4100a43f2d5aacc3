"""CSV and Parquet tables for the tests of their readers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedpipe.config import DataConfig
from fedpipe.data.sources import SourceSummary, open_source
from fedpipe.errors import DataError

HEADER = "client,label,a,b\n"
ROWS = "".join(f"c{i % 3},{i % 2},{i * i},{i / 2}\n" for i in range(6))
Row = tuple[str | None, Any, list[Any]]
GOOD = [(f"c{i % 3}", i % 2, [i * i, i / 2]) for i in range(6)]


def opened(path: Path, source: str = "csv", **settings: Any) -> tuple[list[Row], SourceSummary]:
    """Return (client, label, features) of each row, and what was understood."""
    opened_source = open_source(
        DataConfig(source=source, path=path.name, clients=None, **settings), path.parent
    )
    rows: list[Row] = []
    for batch in opened_source.batches():
        clients = batch.clients or [None] * len(batch.y)
        labels = batch.y.tolist() if isinstance(batch.y, np.ndarray) else list(batch.y)
        features = [np.asarray(x).tolist() for x in batch.x]
        rows += list(zip(clients, labels, features, strict=True))
    assert opened_source.summary is not None
    return rows, opened_source.summary()


def refusal(table: Any, text: str | bytes, **settings: Any) -> str:
    with pytest.raises(DataError) as caught:
        table(text, **settings)
    assert "\n" not in str(caught.value)
    said = str(caught.value)
    return said[said.index("t.csv") :]


def text_of(tokens: list[int]) -> str:
    return bytes(token - 1 for token in tokens).decode()
