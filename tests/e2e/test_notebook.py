"""The notebook of `examples/` runs in a kernel, whose event loop runs, and shows what it promises."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NAME = "examples/notebook/compare_runs.ipynb"
ROOT = Path(__file__).parents[2]


def test_no_output_is_committed() -> None:
    notebook = nbformat.read(ROOT / NAME, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) >= 8
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)


@pytest.fixture(scope="module")
def outputs(
    tmp_path_factory: pytest.TempPathFactory, clone: Callable[..., Path]
) -> dict[str, list[dict[str, Any]]]:
    """What each cell shows, by the first words of its code."""
    folder = tmp_path_factory.mktemp("notebook")
    project = clone(folder / "project")
    place = project / NAME
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / NAME, place)
    notebook = nbformat.read(place, as_version=4)
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PREFECT_", "MLFLOW_", "WRAPT_", "TF_"))
    }
    client = NotebookClient(
        notebook,
        timeout=400,
        kernel_name="python3",
        resources={"metadata": {"path": str(place.parent)}},
    )
    client.execute(env=environment | {"HOME": str(folder)})
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return {cell.source.split("(")[0]: cell.outputs for cell in cells}


def shown(outputs: list[dict[str, Any]], mime: str) -> list[str]:
    """Return all that a cell shows in one form."""
    return [str(output["data"][mime]) for output in outputs if mime in output.get("data", {})]


@pytest.mark.timeout(900)
def test_a_run_shows_its_progress_in_one_line_and_then_itself(
    outputs: dict[str, list[dict[str, Any]]],
) -> None:
    for cell in ("tutorial = fedpipe.run", "better = fedpipe.run"):
        line, run = shown(outputs[cell], "text/html")
        assert "round 15/15  test/loss" in line
        assert "<table>" in run
        assert "image/svg+xml" in run
        streams = [output for output in outputs[cell] if output["output_type"] == "stream"]
        assert streams == [], "nothing but the line and the run"


def test_the_runs_are_compared_and_reported(outputs: dict[str, list[dict[str, Any]]]) -> None:
    (table,) = shown(outputs["fedpipe.runs"], "text/html")
    assert "tutorial" in table
    assert "better" in table
    (report,) = shown(outputs["better.report"], "text/html")
    assert report.startswith("<iframe")
    assert len(report) > 10_000


def test_the_model_predicts(outputs: dict[str, list[dict[str, Any]]]) -> None:
    (text,) = shown(outputs["accuracy = float"], "text/plain")
    match = re.search(r"0\.\d+", text)
    assert match is not None
    assert float(match[0]) > 0.6
