"""The report as a reader has it: nothing fetched, nothing complained of, legible in light and dark, by keyboard, on a phone, on paper."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser

_CONTRASTS = (Path(__file__).parent / "contrasts.js").read_text()
"""Returns every text whose contrast is below 4.5, the bar of WCAG 2.2 (1.4.3, AA), as `words: contrast`."""


@pytest.fixture(scope="module")
def reports(site: Any) -> dict[str, str]:
    """Addresses of the report of one run, and of both."""
    first, second = (run["run_id"] for run in site.runs)
    found = {}
    for name, runs in (("one", [second]), ("both", [first, second])):
        about = json.loads(site.user.run("fedpipe", "report", *runs, "--json").stdout)
        assert [run["missing"] for run in about["runs"]] == [{}] * len(runs)
        found[name] = Path(about["path"]).as_uri()
    return found


@pytest.mark.parametrize("which", ["one", "both"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_loads_nothing_and_every_text_can_be_read(
    reports: Any, open_page: Callable[..., Any], which: str, scheme: str
) -> None:
    watched = open_page(reports[which], color_scheme=scheme)
    page = watched.page
    for details in page.locator("summary").all():
        details.click()
    assert page.evaluate(_CONTRASTS) == []
    dark = page.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).every(part => part < 64)"
    )
    assert dark == (scheme == "dark")
    assert watched.requests == [reports[which]] + [
        address for address in watched.requests[1:] if address.startswith("data:")
    ]
    assert watched.complaints == []


def test_the_run_logged_the_same_page(
    site: Any, reports: Any, open_page: Callable[..., Any]
) -> None:
    """Every run has its report among its artifacts; it differs from a later one in when the run ended alone."""
    kept = Path(site.user.project / ".fedpipe" / "runs" / "rate-0.05" / "report.html").read_text()
    later = Path(reports["one"].removeprefix("file://")).read_text()
    hide = re.compile(r"\d+(\.\d+)? (ms|s)|\d+ min( \d+ s)?")
    assert hide.sub("?", kept) == hide.sub("?", later)
    page = open_page(f"{site.mlflow}/#/experiments/1/runs/{site.runs[1]['run_id']}/artifacts").page
    page.get_by_text("report.html").first.click()
    inside = page.frame_locator("iframe").get_by_role("heading", level=1)
    inside.wait_for()
    assert inside.inner_text() == "rate-0.05"


def test_by_keyboard_alone(reports: Any, open_page: Callable[..., Any]) -> None:
    page = open_page(reports["both"]).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    seen = []
    for _ in range(200):
        page.keyboard.press("Tab")
        element = page.evaluate("""() => {
            const at = document.activeElement, style = getComputedStyle(at);
            return [at.tagName, at.textContent.trim().slice(0, 40), parseFloat(style.outlineWidth) >= 2 && style.outlineStyle != 'none'];
        }""")
        if element[0] == "BODY":
            break
        seen.append(element)
    assert all(visible for _, _, visible in seen), "every focus is seen"
    closed = [words for tag, words, _ in seen if tag == "SUMMARY"]
    assert len(closed) == page.locator("summary").count() >= 7
    links = [words for tag, words, _ in seen if tag == "A"]
    assert len(links) == page.locator("main a").count() == 4, (
        "Prefect's and MLflow's page of both runs"
    )
    summary = page.locator("summary").first
    summary.focus()
    page.keyboard.press("Enter")
    assert page.locator("details").first.get_attribute("open") is not None


@pytest.mark.parametrize("which", ["one", "both"])
def test_on_a_phone_nothing_is_wider_than_the_screen(
    reports: Any, open_page: Callable[..., Any], which: str
) -> None:
    page = open_page(reports[which], 360, 800).page
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_on_paper(reports: Any, open_page: Callable[..., Any], tmp_path: Path) -> None:
    page = open_page(reports["one"], color_scheme="dark").page
    pdf = page.pdf(
        format="A4",
        print_background=True,
        margin=dict.fromkeys(("top", "bottom", "left", "right"), "15mm"),
    )
    (tmp_path / "report.pdf").write_bytes(pdf)
    assert pdf.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 14
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible()
    for table in page.locator("details table").all():
        assert table.is_visible(), "what is folded on the screen is printed"


def test_its_picture(
    reports: Any, open_page: Callable[..., Any], keep_picture: Callable[[str, bytes], None]
) -> None:
    page = open_page(reports["one"], 1240, 1400).page
    assert page.locator("figure").count() >= 8
    keep_picture("report", page.screenshot())
