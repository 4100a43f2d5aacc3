"""Makes `compare_runs.png`: MLflow's page for two runs that differ in the clients' learning rate.

    uv run --group pictures python docs/pictures/compare_runs.py

trains twice in a clone of the last commit, opens MLflow's charts in Debian's Chromium (`apt-get install chromium`) and writes
the picture next to this script. With `--project FOLDER` it shows the runs that the folder's store holds instead.
"""

import argparse
import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from fedpipe.tracking.ui import ui_command, ui_environment

ROOT = Path(__file__).parents[2]
PICTURE = Path(__file__).with_suffix(".png")
MAX_BYTES = 300_000
RATES = ("0.01", "0.05")
# A browser for one page of this machine: no GPU, nothing fetched from elsewhere, and no sandbox, which root cannot have.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_UI_START_SECONDS = 120
_DRAWN_MILLISECONDS = 60_000
# The charts move to their places once drawn; no event tells when they stand.
_SETTLE_MILLISECONDS = 3_000


def train_twice(folder: Path) -> Path:
    """Clone the project into `folder` and train once with each of `RATES`; return the clone."""
    project = folder / "project"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(project)], check=True)
    for rate in RATES:
        command = [sys.executable, "-m", "fedpipe", "run", "--quiet", "--name", f"rate-{rate}", "-S", f"client.learning_rate={rate}"]
        subprocess.run(command, cwd=project, check=True)
    return project


@contextlib.contextmanager
def mlflow_ui(project: Path) -> Iterator[str]:
    """Serve the MLflow UI on the project's store for the block; give its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    address = f"http://127.0.0.1:{port}"
    environment = {**ui_environment(project), "MLFLOW_DISABLE_TELEMETRY": "true"}
    server = subprocess.Popen(ui_command(project, port), cwd=project, env=environment, start_new_session=True)
    try:
        limit = time.monotonic() + _UI_START_SECONDS
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while True:
            try:
                with opener.open(f"{address}/health", timeout=5):
                    break
            except OSError:
                if time.monotonic() > limit or server.poll() is not None:
                    raise
                time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait()


def draw(page: Page, address: str) -> None:
    """Bring the page to show both curves by round, and the one parameter in which the runs differ."""
    page.set_default_timeout(_DRAWN_MILLISECONDS)
    # MLflow's chat panel would take a quarter of the first visit's page.
    page.add_init_script(
        "localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');"
        "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');"
    )
    page.goto(f"{address}/#/experiments/1/runs?compareRunsMode=CHART")
    # Room for the charts: menu and list of runs are folded, the legends name the runs.
    page.get_by_role("button", name="Toggle sidebar").click()
    page.locator("[data-component-id='mlflow.experiment_page.table_resizer.collapse']").dispatch_event("click")
    section = page.get_by_role("button").filter(has_text=re.compile(r"^test\s*\("))
    section.get_by_test_id("experiment-view-compare-runs-add-chart").click()
    page.get_by_role("menuitem", name="Difference view").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Parameters").check()
    dialog.get_by_text("Show change from baseline").click()
    dialog.locator("input[value='Runs difference view']").fill("What differs")
    dialog.get_by_role("button", name="Add chart").click()
    page.get_by_placeholder("Search metric charts").fill("^test/|differs")
    page.get_by_text("client.learning_rate").wait_for()
    page.wait_for_function("document.querySelectorAll('.scatterlayer').length == 2 && document.querySelectorAll('.js-line').length >= 4")
    page.get_by_placeholder("Search metric charts").blur()
    page.mouse.move(0, 0)
    page.wait_for_timeout(_SETTLE_MILLISECONDS)


def main() -> None:
    """Make the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, help="show the two runs of this project instead of making them")
    parser.add_argument("--browser", default=shutil.which("chromium"), help="Chromium's program (default: the one on the PATH)")
    options = parser.parse_args()
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    with tempfile.TemporaryDirectory() as folder:
        project = options.project or train_twice(Path(folder))
        with mlflow_ui(project) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=options.browser, headless=True, args=FLAGS)
            page = browser.new_page(viewport={"width": 1640, "height": 690})
            draw(page, address)
            picture = page.screenshot()
            browser.close()
    if len(picture) >= MAX_BYTES:
        sys.exit(f"the picture has {len(picture)} bytes, expected fewer than {MAX_BYTES}: make the viewport smaller")
    PICTURE.write_bytes(picture)


if __name__ == "__main__":
    main()
