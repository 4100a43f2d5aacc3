"""Bad input of many kinds: one line, exit code 2, nothing half-written."""

from pathlib import Path
from typing import Any

import pytest

REFUSED_AT_ONCE = [
    ("server.learnig_rate=1", "unknown key 'server.learnig_rate'"),
    ("rounds=ten", "'rounds': input should be a valid integer"),
    ("cohort.size=0", "'cohort.size': input should be greater than or equal to 1"),
    ("cohort.size=101", "cohort.size=101 is larger than the population"),
    ("client.batch_size=0", "'client.batch_size': input should be greater than or equal to 1"),
    ("client.learning_rate=-1", "'client.learning_rate': input should be greater than 0"),
    ("data.source=nowhere", "data.source: expected one of mnist5k"),
]


@pytest.mark.parametrize(("override", "words"), REFUSED_AT_ONCE)
def test_bad_setting(user: Any, override: str, words: str) -> None:
    refused(user, words, "fedpipe", "run", "--json", "-S", override)
    assert not (user.project / ".fedpipe").exists()
    assert not (user.project / "mlflow.db").exists()


def test_missing_params_file(user: Any) -> None:
    refused(user, "nowhere.yaml: no such params file", "fedpipe", "run", "--params", "nowhere.yaml")


@pytest.fixture
def prepared(user: Any) -> Any:
    user.run("fedpipe", "prepare", "--quiet")
    return user


def shard(user: Any) -> Path:
    return Path(sorted((user.project / "data" / "shards").glob("train-*.parquet"))[0])


def test_shard_that_does_not_match_the_manifest(prepared: Any) -> None:
    data = bytearray(shard(prepared).read_bytes())
    data[len(data) // 2] ^= 1
    shard(prepared).write_bytes(data)
    refused(prepared, "train-00000.parquet", "fedpipe", "train", DVC_STAGE="train")


def test_truncated_shard(prepared: Any) -> None:
    shard(prepared).write_bytes(shard(prepared).read_bytes()[:1000])
    refused(prepared, "train-00000.parquet", "fedpipe", "train", DVC_STAGE="train")


def test_missing_shard(prepared: Any) -> None:
    shard(prepared).unlink()
    refused(prepared, "train-00000.parquet", "fedpipe", "train", DVC_STAGE="train")


def test_missing_manifest(prepared: Any) -> None:
    (shard(prepared).parent / "manifest.json").unlink()
    refused(prepared, "manifest.json", "fedpipe", "train", DVC_STAGE="train")


def test_unwritable_store(user: Any) -> None:
    (user.home / "file").write_text("")
    refused(
        user,
        "file/mlflow.db",
        "fedpipe",
        "run",
        "--json",
        MLFLOW_TRACKING_URI=f"sqlite:///{user.home}/file/mlflow.db",
    )


def test_evaluate_before_train(user: Any) -> None:
    refused(user, "expected a finished training", "fedpipe", "evaluate")


def refused(user: Any, words: str, *command: str, **environment: str) -> None:
    done = user.run(*command, code=2, **environment)
    assert done.stdout == ""
    line = done.stderr.splitlines()[-1]
    assert line.startswith("fedpipe: ")
    assert words in line
    assert "Traceback" not in done.stderr
