"""A CSV table that is written and read."""

from pathlib import Path
from typing import Any

import pytest

from fedpipe.data.sources import SourceSummary
from tests.unit.data.sources.tables import Row, opened


@pytest.fixture
def table(tmp_path: Path) -> Any:
    def read(
        text: str | bytes, encoding_of_file: str = "utf-8", name: str = "t.csv", **settings: Any
    ) -> tuple[list[Row], SourceSummary]:
        (tmp_path / name).write_bytes(
            text if isinstance(text, bytes) else text.encode(encoding_of_file)
        )
        return opened(tmp_path / name, **settings)

    return read
