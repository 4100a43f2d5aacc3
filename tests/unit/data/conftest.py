"""Shards of the embedded digits, made once; a copy where a test damages them."""

import shutil
from pathlib import Path

import pytest

from fedpipe.config import DataConfig
from fedpipe.data.prepare import prepare_shards


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return shards of mnist5k with the default settings. Not to be changed."""
    folder = tmp_path_factory.mktemp("data") / "shards"
    prepare_shards(DataConfig(), folder, folder.parent)
    return folder


@pytest.fixture
def own_shards(shards: Path, tmp_path: Path) -> Path:
    """Return a copy of the shards, to be damaged."""
    return Path(shutil.copytree(shards, tmp_path / "shards"))
