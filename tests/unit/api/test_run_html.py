"""A run as a notebook shows it: figures by the kind of its task, curves, nothing unescaped."""

import base64
import re

import pandas as pd

from fedpipe.api.run_html import run_html
from fedpipe.tracking.run_list import ListedRun


def listed(name: str, params: dict[str, str], metrics: dict[str, float]) -> ListedRun:
    return ListedRun("0123456789abcdef", name, "finished", 0, 1.0, params, metrics, {})


def picture(page: str) -> str:
    match = re.search(r"base64,([^\"]+)", page)
    assert match is not None
    return base64.b64decode(match[1]).decode("utf-8")


def test_a_regression_shows_its_own_metric() -> None:
    run = listed(
        "clinics",
        {"task.kind": "regression", "algorithm.name": "fedavg", "model.name": "softmax"},
        {"final/test/rmse": 54.25, "final/test/loss": 2943.0},
    )
    frame = pd.DataFrame(
        {"test/rmse": [80.0, 54.25], "test/loss": [6400.0, 2943.0], "test/mae": [70.0, 44.0]},
        index=pd.Index([0, 1], name="round"),
    )
    page = run_html(run, "http://x", frame)
    assert "test/rmse" in page
    assert "54.25" in page
    svg = picture(page)
    assert "RMSE" in svg
    assert "Accuracy" not in svg


def test_names_are_escaped_and_a_run_without_rounds_has_no_picture() -> None:
    run = listed("<b>bold</b>", {}, {})
    page = run_html(run, "http://x", pd.DataFrame(index=pd.Index([], name="round")))
    assert "&lt;b&gt;bold" in page
    assert "<img" not in page
