"""Prefect's page of a run: its tasks, and what fedpipe adds: progress, the table of rounds, the chain, a link to MLflow."""

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.browser


def test_a_run_shows_its_artifacts(
    site: Any, prefect_ui: str, open_page: Callable[..., Any], keep_picture: Callable[[str, bytes], None]
) -> None:
    run = site.runs[1]
    watched = open_page(f"{prefect_ui}/runs/flow-run/{run['flow_run_id']}?tab=Artifacts", 1400, 900)
    page = watched.page
    page.get_by_text("rate-0.05").first.wait_for()
    page.get_by_text("15 of 15 rounds").first.wait_for()
    page.wait_for_timeout(2_000)
    keep_picture("prefect_run", page.screenshot())
