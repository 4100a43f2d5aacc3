"""Clients that come and go: a real DVC remote gets the shards that changed, and no others."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fedpipe.config import DataConfig
from fedpipe.data.manifest import read_manifest
from fedpipe.data.prepare import prepare_shards

CLIENTS, EXAMPLES = 60, 20


def write(path: Path, clients: int) -> None:
    """Write a file of clients whose examples follow from their number, so that more clients change nothing of the first ones."""
    draws = [np.random.default_rng(number).normal(size=(EXAMPLES, 3)) for number in range(clients)]
    x = np.concatenate(draws)
    ids = [f"client{number:03}" for number in range(clients) for _ in range(EXAMPLES)]
    columns = {"client": ids, "label": [i % 2 for i in range(len(ids))]}
    pq.write_table(pa.table(columns | {f"x{i}": x[:, i] for i in range(3)}), path)


def dvc(folder: Path, *arguments: str) -> None:
    environment = os.environ | {"DVC_NO_ANALYTICS": "true", "HOME": str(folder)}
    command = [sys.executable, "-m", "dvc", *arguments]
    subprocess.run(
        command,
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )


def objects(remote: Path) -> set[str]:
    return {str(path.relative_to(remote)) for path in remote.rglob("*") if path.is_file()}


def test_more_clients_rewrite_and_push_only_the_files_around_them(tmp_path: Path) -> None:
    project, remote = tmp_path / "project", tmp_path / "remote"
    project.mkdir()
    dvc(project, "init", "--no-scm")
    dvc(project, "remote", "add", "-d", "store", str(remote))
    config = DataConfig(
        source="parquet",
        path="mine.parquet",
        clients=None,
        shard_rows=200,
        central_test_examples=100_000,
    )

    def push(clients: int) -> tuple[dict[str, str], set[str]]:
        write(project / "mine.parquet", clients)
        prepare_shards(config, project / "shards", project)
        dvc(project, "add", "--quiet", "shards")
        dvc(project, "push", "--quiet")
        return {
            file.sha256: file.name for file in read_manifest(project / "shards").files
        }, objects(remote)

    before, stored = push(CLIENTS)
    after, stored_after = push(CLIENTS + 1)
    new = set(after) - set(before)
    train = [name for name in after.values() if name.startswith("train")]
    assert len(train) >= 5
    # The new client is the last: the last file of train, of test and of the central test set, and no other.
    assert len(new) <= 4
    # Beside these: the manifest, the index, and DVC's list of the folder.
    assert len(stored_after - stored) == len(new) + 3
    assert stored <= stored_after
