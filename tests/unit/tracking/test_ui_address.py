"""Links lead to pages: of a tracking server, of a `fedpipe ui` that runs, or of the port where one will listen."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedpipe.tracking import ui_address as module
from fedpipe.tracking.store import run_url
from fedpipe.tracking.ui_address import free_ui_port, note_ui, ui_address

URI = "sqlite:////somewhere/mlflow.db"


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A port that somebody listens on; links start at it in the place of 5000."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.getsockname()[1]
        monkeypatch.setattr(module, "UI_PORT", number)
        yield number


def test_a_tracking_server_has_pages_of_its_own(tmp_path: Path) -> None:
    address = ui_address(tmp_path, "https://ann:secret@mlflow.example.org/")
    assert (address.url, address.command) == ("https://ann:***@mlflow.example.org", None)


def test_a_port_that_another_program_has_is_left_out(tmp_path: Path, port: int) -> None:
    assert free_ui_port() > port
    address = ui_address(tmp_path, URI)
    assert address.url == f"http://127.0.0.1:{free_ui_port()}"
    assert address.command is not None
    assert address.command == f"uv run fedpipe ui --port {free_ui_port()}"


def test_links_lead_to_the_ui_that_runs(tmp_path: Path, port: int) -> None:
    note_ui(tmp_path, URI, "0.0.0.0", port)  # noqa: S104 - nothing is bound
    address = ui_address(tmp_path, URI)
    assert (address.url, address.command) == (f"http://127.0.0.1:{port}", None)
    assert ui_address(tmp_path, "sqlite:////another/mlflow.db").command is not None


@pytest.mark.parametrize(
    "note",
    ["", "{}", '{"pid": 1, "host": "127.0.0.1", "port": 1, "started": "0", "store": "x"}', "[1]"],
)
def test_a_note_of_a_ui_that_is_gone_is_not_believed(tmp_path: Path, note: str) -> None:
    (tmp_path / ".fedpipe").mkdir()
    (tmp_path / ".fedpipe" / "ui.json").write_text(note)
    assert ui_address(tmp_path, URI).command is not None


def test_a_process_of_the_same_number_is_not_the_ui(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    note_ui(tmp_path, URI, "127.0.0.1", port)
    monkeypatch.setattr(module, "_started", lambda _pid: "another")
    assert ui_address(tmp_path, URI).command is not None


def test_a_link_to_a_run(tmp_path: Path) -> None:
    from fedpipe.tracking.store import Store

    store = Store(
        "http://mlflow:5000", "e", "1", None, ui_address(tmp_path, "http://mlflow:5000").url
    )  # type: ignore[arg-type]
    assert run_url(store, "1", "abc") == "http://mlflow:5000/#/experiments/1/runs/abc"
