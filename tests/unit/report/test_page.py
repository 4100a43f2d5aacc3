"""The report: well-formed, self-contained, escaped; what differs is said first, and what is missing by its name."""

import itertools
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from fedpipe.report.facts import PREDICTIONS, RunFacts
from fedpipe.report.page import labels, render
from fedpipe.runs.lineage import GitLineage, PrefectLineage
from fedpipe.tables.evaluation import ClientValue, ClientValues
from fedpipe.tables.kinds import KindTables
from fedpipe.tables.mistakes import Mistake
from fedpipe.tables.population import PopulationTable
from fedpipe.tables.regression import TargetErrors, TargetPairs, target_scores
from fedpipe.tracking.lookup import ModelVersion
from fedpipe.tracking.participation import ClientRound
from fedpipe.tracking.sweeps import SweepTrial, SweepView
from tests.unit.report.reports import HOSTILE, confusion_of, run_facts

_VOID = {"meta", "link", "img", "br", "col"}


class Page(HTMLParser):
    """Every element with its attributes; fails where an end does not belong to what is open."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, Any]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> ends nothing"
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, Any]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_one_run_has_every_section_in_order() -> None:
    page = Page(render([run_facts()]))
    ids = [attributes["id"] for attributes in page.all("section")]
    assert ids == [
        "summary",
        "chain",
        "curves",
        "accuracies",
        "confusion",
        "population",
        "participation",
        "timing",
        "environment",
        "settings",
    ]
    assert {a["href"].removeprefix("#") for a in page.all("a") if a["href"].startswith("#")} == {
        *ids,
        "main",
    }
    for words in (
        "0.8000",
        "before training 0.1000",
        "digits/2",
        "@champion",
        "two taken for one : 3, 30% of them",
        "1 min 15 s",
        "a CPU",
    ):
        assert words in page.text, words
    assert "Missing" not in page.text


def test_nothing_is_loaded_and_nothing_runs() -> None:
    html = render([run_facts(), run_facts("second", "b" * 32)])
    page = Page(html)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {
        "script",
        "iframe",
        "object",
        "embed",
        "form",
        "base",
        "audio",
        "video",
        "source",
    }
    assert "default-src 'none'" in page.all("meta")[1]["content"]
    loads = [
        attributes.get("src") or attributes.get("href")
        for tag, attributes in page.elements
        if tag in ("img", "link", "image", "use")
    ]
    assert loads
    assert all(address.startswith("data:") for address in loads)
    assert not [
        attributes
        for _, attributes in page.elements
        for name in attributes
        if name.startswith("on")
    ]
    style = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    assert len(style) == 1
    assert "url(" not in style[0]
    assert "@import" not in style[0]
    hosts = {a["href"].split("/")[2] for a in page.all("a") if not a["href"].startswith("#")}
    assert hosts == {"127.0.0.1:5000", "127.0.0.1:4200"}


def test_everyone_can_read_it() -> None:
    page = Page(render([run_facts(), run_facts("second", "b" * 32)]))
    assert page.all("html") == [{"lang": "en"}]
    first = next(attributes for tag, attributes in page.elements if tag == "a")
    assert first == {"class": "skip", "href": "#main"}
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(image["alt"] for image in page.all("img"))
    charts = [attributes for attributes in page.all("svg") if "aria-hidden" not in attributes]
    assert len(charts) >= 10
    assert all(chart["role"] == "img" and len(chart["aria-label"]) > 20 for chart in charts)
    assert all("scope" in attributes for attributes in page.all("th"))
    assert all(
        attributes["aria-label"]
        for attributes in page.all("div")
        if attributes.get("role") == "region"
    )
    assert len(page.all("caption")) == len(page.all("table"))


def hostile_run() -> Any:
    forgotten = {"fedpipe.forgotten_clients": f'["{HOSTILE}"]'}
    lineage = replace(
        run_facts().lineage,
        prefect=PrefectLineage(HOSTILE, HOSTILE, "javascript:alert(1)"),
        git=GitLineage(commit=HOSTILE, branch=HOSTILE, dirty=True, patch=HOSTILE),
        versions=[ModelVersion(HOSTILE, "1", "", (HOSTILE,), forgotten)],
    )
    return run_facts(
        HOSTILE,
        params={
            "rounds": HOSTILE,
            HOSTILE: HOSTILE,
            "algorithm.name": HOSTILE,
            "model.name": HOSTILE,
            "data.source": HOSTILE,
        },
        tags={
            "fedpipe.status_reason": HOSTILE,
            "host.cpu": HOSTILE,
            "privacy.epsilon": HOSTILE,
            "privacy.delta": HOSTILE,
        },
        status=HOSTILE,
        url=f"https://mlflow.example/{HOSTILE}",
        lineage=lineage,
        rounds=[
            {"round": 0.0, HOSTILE: 1.0, "test/loss": float("nan")},
            {"round": 1.0, "test/loss": float("inf"), "test/accuracy": 0.5},
        ],
        accuracies=ClientValues("accuracy", True, [ClientValue(HOSTILE, False, 1, 0.0, 0.5)]),
        labels=[HOSTILE, "b", "c"],
        mistakes=[Mistake(HOSTILE, "b", 0.5, np.ones((2, 2, 3), np.float32))],
        population=PopulationTable(
            {**run_facts().population.figures, "clients": HOSTILE},
            (HOSTILE, "b"),
            3,
            9,
            np.array([[1, 2]]),
        ),
        clients=[ClientRound(1, HOSTILE, "reported", 3)],
        seconds={HOSTILE: 1.0},
        missing={"pictures of mistakes": HOSTILE},
    )


def test_hostile_names_stay_text() -> None:
    run = hostile_run()
    for runs in ([run], [run, run_facts(HOSTILE, "b" * 32)]):
        html = render(runs)
        page = Page(html)
        assert "<script" not in html
        assert "<img src=http" not in html
        assert "javascript:" not in html
        assert not [
            attributes
            for _, attributes in page.elements
            for name in attributes
            if name.startswith("on")
        ]
        assert all(image["src"].startswith("data:image/png;base64,") for image in page.all("img"))
        assert page.text.count("<script>alert('x')</script>") > 15


def test_what_differs_comes_first() -> None:
    other = run_facts(
        "second",
        "b" * 32,
        params={**run_facts().params, "client.learning_rate": "0.05", "client.momentum": "0.9"},
    )
    html = render([run_facts(), other])
    page = Page(html)
    assert page.all("section")[0]["id"] == "differs"
    first = html[html.index('id="differs"') : html.index('id="summary"')]
    rows = re.findall(r'<th scope="row">([^<]*)</th><td>(.*?)</td><td>(.*?)</td>', first)
    assert rows == [
        ("client.learning_rate", "0.01", "0.05"),
        ("client.momentum", '<span class="none">none</span>', "0.9"),
    ]
    assert "first from 0.1 to 0.7; second from 0.1 to 0.7" in html
    assert page.text.count("All runs have the same data.") == 1


def test_runs_of_one_name_and_the_same_settings_are_told_apart() -> None:
    runs = [run_facts(), run_facts("first", "b" * 32)]
    assert labels(runs) == ["first (aaaaaaaa)", "first (bbbbbbbb)"]
    assert "The settings of the runs are the same." in Page(render(runs)).text


def test_what_is_missing_is_named_with_its_reason() -> None:
    nothing = {
        "accuracies": None,
        "confusion": None,
        "population": None,
        "clients": None,
        "seconds": None,
        "rounds": (),
        "end_ms": None,
    }
    why = {"learning curves": "no rounds", "confusion": "deleted", "timing": "no times"}
    run = run_facts(**nothing, metrics={}, tags={}, missing=why, status="FAILED")
    text = Page(render([run])).text
    why_not = (
        "learning curves. no rounds",
        "accuracy of each client. The run recorded none",
        "confusion. deleted",
        "phases. no times",
    )
    assert [part for part in why_not if f"Missing: {part}" not in text] == []
    assert set(run.missing_sections) == {
        "learning curves",
        "accuracy of each client",
        "confusion",
        "population",
        "participation",
        "timing",
    }
    assert run_facts().missing_sections == {}


def test_a_sweep_shows_its_children_the_best_first_and_no_rounds_of_its_own() -> None:
    trials = (
        SweepTrial(0, "", "trial-0", "finished", 0.7, {"client.learning_rate": 0.01}),
        SweepTrial(1, "", HOSTILE, "pruned", None, {"client.learning_rate": None}),
        SweepTrial(2, "", "trial-2", "finished", 0.9, {"client.learning_rate": 0.1}),
    )
    keys = ("client.learning_rate",)
    sweep = SweepView("search", "d" * 32, "validation/accuracy", "maximize", keys, trials)
    parent = run_facts("search", "d" * 32, sweep=sweep, rounds=(), population=None, accuracies=None)
    html = render([parent])
    page = Page(html)
    assert "algorithm ? on ?" not in page.text
    assert "rounds None" not in page.text
    for words in (
        f"{len(trials)} runs with different settings",
        "judged by validation/accuracy, maximize",
        "best run",
    ):
        assert words in page.text, words
    assert [attributes["id"] for attributes in page.all("section")] == [
        "summary",
        "chain",
        "sweep",
        "environment",
        "settings",
    ]
    assert "3 trials: 2 finished, 1 pruned; judged by validation/accuracy, maximize" in page.text
    assert re.findall(r'<th scope="row">(trial-\d)', html) == ["trial-2", "trial-0"]
    assert parent.missing_sections == {}
    assert "<script" not in html
    both = [attributes["id"] for attributes in Page(render([parent, run_facts()])).all("section")]
    assert both[:5] == ["differs", "summary", "chain", "sweep", "curves"]


def test_the_same_runs_give_the_same_page() -> None:
    assert render([run_facts()]) == render([run_facts()])


@pytest.mark.parametrize("classes", [1, 20, 21, 257])
def test_any_number_of_classes_and_clients_fits(classes: int) -> None:
    rng = np.random.default_rng(classes)
    names = [f"class number {i}" for i in range(classes)]
    counts = rng.integers(0, 9, (100, min(classes, 60)))
    clients = [
        ClientRound(n, f"c{i:05}", "reported", 1)
        for i in range(3000)
        for n in (1 + i % 5, 6 + i % 7)
    ]
    run = run_facts(
        labels=names,
        confusion=confusion_of(rng.integers(0, 5, (classes, classes))),
        mistakes=(),
        population=PopulationTable(
            run_facts().population.figures, tuple(names[:60]), classes, 3000, counts
        ),
        clients=clients,
    )
    html = render([run])
    assert len(html) < 1_500_000
    assert "10 of 3000 clients" in Page(html).text


def regression_facts() -> RunFacts:
    """Return a run of a regression, beside the usual one."""
    true = np.array([[1.0], [2.0], [4.0]])
    scores = target_scores(true + 0.5, true, ["price"])
    pairs = [TargetPairs("price", true[:, 0], true[:, 0] + 0.5)]
    errors = [TargetErrors("price", np.array([0.0, 1.0]), np.array([3]))]
    clients = [
        ClientValue("c001", False, 2, 0.5, None),
        ClientValue("c002", False, 1, 0.25, None),
        ClientValue("c003", False, 1, None, None),
    ]
    return run_facts(
        "prices",
        "b" * 32,
        params={"rounds": "3", "task.kind": "regression", "task.loss": "None"},
        metrics={"best/test/rmse": 0.5, "best/test/loss": 0.25},
        rounds=[{"round": 0.0, "test/rmse": 2.5, "test/loss": 6.25}],
        labels=(),
        confusion=None,
        accuracies=ClientValues("rmse", False, clients),
        kind_tables=KindTables(targets=scores, residuals=errors, predicted=pairs),
        mistakes=(),
    )


def test_a_regression_is_shown_by_its_own_metric_and_tables() -> None:
    run = regression_facts()
    page = render([run])
    assert run.missing_sections == {}
    assert ">RMSE of each client</h2>" in page
    assert "The 2 of 3 clients with the highest RMSE" in page
    assert "1 of 3 clients have no RMSE of their own" in page
    assert "<dt>test RMSE</dt><dd><b>0.5000</b><span>before training 2.5000</span>" in page
    assert "Errors of price" in page
    assert "Predicted against true: price" in page
    assert "#confusion" not in page
    assert ">squared error</text>" in page


def test_runs_of_two_kinds_have_the_sections_of_both() -> None:
    page = render([run_facts(), regression_facts()])
    assert ">Metric that chooses of each client</h2>" in page
    assert page.count("clients with the lowest accuracy</summary>") == 1
    assert page.count("clients with the highest RMSE</summary>") == 1
    assert 'id="confusion"' in page
    assert 'id="predictions"' in page
    assert "RMSE, central test set" in page
    assert "Accuracy, central test set" in page


def test_tables_of_a_kind_that_are_missing_are_named() -> None:
    run = replace(
        regression_facts(), kind_tables=None, missing={PREDICTIONS: "targets.csv was deleted."}
    )
    assert run.missing_sections == {PREDICTIONS: "targets.csv was deleted."}
    assert "Missing: predictions.</strong> targets.csv was deleted." in render([run])
