"""MLflow's comparison of two runs: both curves by round, and the settings in which they differ."""

import re
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.browser

# The charts move to their places once drawn; no event tells when they stand.
_SETTLE_MILLISECONDS = 3_000


def no_assistant(page: Any) -> None:
    """MLflow's chat panel would take a quarter of the first visit's page."""
    page.add_init_script(
        "localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');"
        "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');"
    )


def test_two_runs_are_compared_by_round(
    site: Any, open_page: Callable[..., Any], keep_picture: Callable[[str, bytes], None]
) -> None:
    watched = open_page(
        f"{site.mlflow}/#/experiments/1/runs?compareRunsMode=CHART", 1640, 690, before=no_assistant
    )
    page = watched.page
    # Room for the charts: menu and list of runs are folded, the legends name the runs.
    page.get_by_role("button", name="Toggle sidebar").click()
    page.locator(
        "[data-component-id='mlflow.experiment_page.table_resizer.collapse']"
    ).dispatch_event("click")
    section = page.get_by_role("button").filter(has_text=re.compile(r"^test\s*\("))
    section.get_by_test_id("experiment-view-compare-runs-add-chart").click()
    page.get_by_role("menuitem", name="Difference view").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Parameters").check()
    dialog.get_by_text("Show change from baseline").click()
    dialog.locator("input[value='Runs difference view']").fill("What differs")
    dialog.get_by_role("button", name="Add chart").click()
    page.get_by_placeholder("Search metric charts").fill("^test/(accuracy|loss)|differs")
    page.get_by_text("client.learning_rate").wait_for()
    page.get_by_text("cohort.strategy").wait_for()
    page.wait_for_function(
        "document.querySelectorAll('.scatterlayer').length == 2 && document.querySelectorAll('.js-line').length >= 4"
    )
    page.get_by_placeholder("Search metric charts").blur()
    page.mouse.move(0, 0)
    page.wait_for_timeout(_SETTLE_MILLISECONDS)
    for name in ("rate-0.01 (test/accuracy)", "rate-0.05 (test/loss)"):
        assert page.get_by_text(name).first.is_visible()
    keep_picture("compare_runs", page.screenshot())
