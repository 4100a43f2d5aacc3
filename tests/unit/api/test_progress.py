"""The line of a run: where it is shown, what it says, and how it stops a training."""

import sys
import types
from typing import Any

import pytest

from fedpipe.api.progress import ProgressLine, in_notebook
from fedpipe.system.lasting_thread import StopRequest
from fedpipe.types import RoundReport


def report(number: int) -> RoundReport:
    metrics = {"train/loss": 2.0, "test/loss": 1.5, "test/accuracy": 0.25}
    return RoundReport(number, ("a", "b"), (), metrics, 40, 0.1, {})


class Display:
    """IPython's display: what each output shows now."""

    def __init__(self) -> None:
        self.outputs: list[list[str]] = []

    def display(self, shown: Any, display_id: bool) -> Any:
        assert display_id
        texts = [shown.data]
        self.outputs.append(texts)
        return types.SimpleNamespace(update=lambda later: texts.append(later.data))


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Display:
    display = Display()
    ipython: Any = types.ModuleType("IPython")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    module: Any = types.ModuleType("IPython.display")
    module.HTML = lambda data: types.SimpleNamespace(data=data)
    module.display = display.display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return display


def test_a_notebook_shows_one_line_that_changes(notebook: Display) -> None:
    assert in_notebook()
    with ProgressLine(2, False, StopRequest()) as line:
        for number in range(3):
            line.round_done(report(number))
    assert len(notebook.outputs) == 1
    assert notebook.outputs[0][0] == "<code>starting</code>"
    last = notebook.outputs[0][-1]
    assert "round 2/2  test/loss 1.5000  test/accuracy 0.2500" in last


def test_quiet_and_a_file_show_nothing(
    notebook: Display, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with ProgressLine(1, True, StopRequest()) as line:
        line.round_done(report(1))
    assert notebook.outputs == []
    monkeypatch.delitem(sys.modules, "IPython")
    with ProgressLine(1, False, StopRequest()) as line:
        line.round_done(report(1))
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_the_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with ProgressLine(1, False, StopRequest()) as line:
        line.round_done(report(1))
    shown = capsys.readouterr().err
    assert shown.endswith("\n")
    assert "round 1/1" in shown.split("\r")[-1]


def test_a_request_stops_at_the_next_round() -> None:
    stop = StopRequest()
    with ProgressLine(3, True, stop) as line:
        line.round_done(report(1))
        stop.set()
        with pytest.raises(KeyboardInterrupt):
            line.round_done(report(2))
