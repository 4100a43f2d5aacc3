"""What a worker is given: its binary, its environment, its directory."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fedpipe.engine.local.worker import (
    SOCKET_PATH_BYTES,
    find_binary,
    socket_directory,
    worker_environment,
)
from fedpipe.errors import EnvironmentProblem


def test_the_binary_is_tffs_own() -> None:
    binary = find_binary()
    assert binary.name == "worker_binary"
    assert os.access(binary, os.X_OK)


def test_neither_worker_nor_runtime_import_tensorflow() -> None:
    code = "import sys, fedpipe.engine.runtime as r, fedpipe.engine.local.worker as w; w.find_binary(); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"tensorflow", "tensorflow_federated", "grpc"} & set(loaded)


def test_the_environment_holds_named_variables_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/bin")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted")
    monkeypatch.setenv("TF_VAR_password", "planted")  # Terraform's, not TensorFlow's
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    assert worker_environment() == {
        "PATH": "/bin",
        "TF_CPP_MIN_LOG_LEVEL": "1",
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_ENABLE_ONEDNN_OPTS": "1",
    }


def test_what_changes_the_last_bits_cannot_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "7")
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    environment = worker_environment()
    assert (environment["TF_NUM_INTRAOP_THREADS"], environment["TF_ENABLE_ONEDNN_OPTS"]) == (
        "1",
        "1",
    )
    assert environment["TF_CPP_MIN_LOG_LEVEL"] == "3"  # this one changes the log alone


@pytest.mark.parametrize("name", ["plain", "x" * 90, "with space"])
def test_the_socket_directory_is_private_and_its_path_fits_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    base = tmp_path / name
    base.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(base))
    directory = Path(socket_directory())
    try:
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert len(os.fsencode(directory / "s")) <= SOCKET_PATH_BYTES
        assert " " not in str(directory)
    finally:
        directory.rmdir()


def test_without_tff_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(
        EnvironmentProblem, match="expected the package tensorflow-federated, found none"
    ):
        find_binary()
