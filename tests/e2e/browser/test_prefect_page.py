"""Prefect's page of a run: its tasks, and what fedpipe adds: progress, the table of rounds, the chain, a link to MLflow."""

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.browser

# The graph of tasks moves into its place once drawn; no event tells when it stands.
_SETTLE_MILLISECONDS = 5_000


def test_a_run_shows_its_artifacts(
    site: Any,
    prefect_ui: str,
    open_page: Callable[..., Any],
    keep_picture: Callable[[str, bytes], None],
) -> None:
    run = site.runs[1]
    page = open_page(f"{prefect_ui}/runs/flow-run/{run['flow_run_id']}", 1400, 1120).page
    page.get_by_text("Artifacts", exact=True).click()
    for words in (
        "Each round's metrics",
        "15 of 15 rounds",
        "Where the model comes from",
        f"MLflow run {run['run_id']}",
    ):
        page.get_by_text(words).first.wait_for()
    page.mouse.move(0, 0)
    page.wait_for_timeout(_SETTLE_MILLISECONDS)
    keep_picture("prefect_run", page.screenshot())
    page.get_by_text("lineage", exact=True).last.click()
    for words in (run["git_commit"], run["data_md5"], run["weights_sha256"]):
        page.get_by_text(words).first.wait_for()
