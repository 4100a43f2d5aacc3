"""Debian's Chromium on the pages that people look at: the report, MLflow's and Prefect's pages of two runs that are made here.

    apt-get install chromium
    uv run --group pictures pytest -m browser -n 0

With `FEDPIPE_WRITE_PICTURES=1` the screenshots in `docs/pictures` are made anew.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.prefect_server import prefect_server
from tests.services import answers, free_port, program, wait_for

ROOT = Path(__file__).parents[3]
MAX_BYTES = 300_000
RATES = ("0.01", "0.05")
# A browser for pages of this machine: no GPU, nothing fetched from elsewhere, and no sandbox, which root cannot have.
_FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *(
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--force-color-profile=srgb",
    ),
]
_DRAWN_MILLISECONDS = 60_000


@dataclass(frozen=True)
class Site:
    """Two finished runs and their MLflow UI.

    Attributes:
        user: whose project it is.
        runs: what `fedpipe run --json` said of each.
        mlflow: address of the MLflow UI.
    """

    user: Any
    runs: tuple[dict[str, Any], dict[str, Any]]
    mlflow: str


@pytest.fixture(scope="session")
def site(make_user: Callable[..., Any]) -> Iterator[Site]:
    """Train twice, with another learning rate and other cohorts the second time, and serve MLflow's user interface."""
    from fedpipe.tracking.ui import ui_command, ui_environment

    user, port = make_user(), free_port()
    names = [("--name", f"rate-{rate}", "-S", f"client.learning_rate={rate}") for rate in RATES]
    names[1] = (*names[1], "-S", "cohort.strategy=uniform")
    first, second = (user.train(*options) for options in names)
    environment = {**ui_environment(user.project), **user.environment()}
    environment |= {
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{user.project}/mlflow.db",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    address = f"http://127.0.0.1:{port}"
    log = user.home / "mlflow.log"
    with program(
        log, *ui_command(user.project, port), env=environment, cwd=user.project
    ) as process:
        wait_for("MLflow's UI", lambda: answers(f"{address}/health"), process, log)
        yield Site(user, (first, second), address)


@pytest.fixture(scope="session")
def prefect_ui(site: Site) -> Iterator[str]:
    """Serve Prefect's user interface on the database that the runs' own servers wrote; give its address."""
    with prefect_server(site.user, site.user.home / ".prefect") as there:
        yield there.url.removesuffix("/api")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium; what a test opens in it is its own."""
    program = shutil.which("chromium")
    if program is None:
        pytest.fail(
            "expected Debian's Chromium on the PATH, found none. `apt-get install chromium`."
        )
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, headless=True, args=_FLAGS)
        yield running
        running.close()


class Watched:
    """A page, all that it asked for, and all that its console or an error said."""

    def __init__(self, page: Any) -> None:
        self.page, self.requests, self.complaints = page, list[str](), list[str]()
        page.set_default_timeout(_DRAWN_MILLISECONDS)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on(
            "console",
            lambda message: (
                self.complaints.append(message.text)
                if message.type in ("error", "warning")
                else None
            ),
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Watched]]:
    """Opens an address in a context of its own: `open_page(address, width, height, color_scheme=...)`."""
    contexts = []

    def open_one(
        address: str,
        width: int = 1280,
        height: int = 900,
        before: Callable[[Any], None] | None = None,
        **options: Any,
    ) -> Watched:
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, **options))
        watched = Watched(contexts[-1].new_page())
        if before is not None:
            before(watched.page)
        watched.page.goto(address)
        return watched

    yield open_one
    for context in contexts:
        context.close()


@pytest.fixture
def keep_picture(tmp_path: Path) -> Callable[[str, bytes], None]:
    """Takes a screenshot that must be a small PNG; it becomes the documentation's where `FEDPIPE_WRITE_PICTURES` is set."""

    def keep(name: str, picture: bytes) -> None:
        assert picture.startswith(b"\x89PNG")
        assert len(picture) < MAX_BYTES, f"{name}: {len(picture)} bytes: make the viewport smaller"
        folder = (
            ROOT / "docs" / "pictures" if os.environ.get("FEDPIPE_WRITE_PICTURES") else tmp_path
        )
        (folder / f"{name}.png").write_bytes(picture)

    return keep
