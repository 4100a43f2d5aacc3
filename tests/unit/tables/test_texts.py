"""Texts from data are drawn and printed as they are, whatever they hold."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from fedpipe.cli.output import print_table
from fedpipe.figures.confusion_matrix import confusion_matrix
from fedpipe.figures.picture_file import write_picture
from fedpipe.report.page import render
from fedpipe.tables.confusion import confusion_counts_csv, confusion_csv, read_confusion
from fedpipe.tables.texts import drawn, markdown, markdown_code
from tests.unit.figures.parsed import svg_root, texts, tooltips
from tests.unit.report.reports import confusion_of, run_facts

ODD = [
    *(
        "$",
        "$$",
        "$$$",
        "$5-$10",
        "$\\frac{1",
        "\\alpha",
        "a_b^c",
        "100%",
        "#&~",
        "<b>x</b>",
        "&amp;",
        "[red]x[/red]",
        "[/]",
        ":dog:",
    ),
    *(
        "a|b",
        "`x`",
        "two\nlines",
        "tab\there",
        "\x00\x1b[31m",
        "\u202eabc",
        "日本語",
        "😀",
        "e\u0301",
        " ",
        "x" * 300,
        "=1+1",
        '"',
        "'",
    ),
]


def test_a_picture_shows_every_text_as_it_is(tmp_path: Path) -> None:
    names = ODD[:20]
    chart = confusion_matrix(confusion_of(np.eye(len(names), dtype=int)), names)
    expected = [drawn(name, 14) for name in names]
    assert texts(chart, "tick") == [*expected, *expected]
    assert tooltips(chart, "heat") == [f"{drawn(name, 200)} right: 1" for name in names]
    for letters in ODD:
        odd = dataclasses.replace(chart, title=drawn(letters), legend=(("s0", letters),))
        write_picture([odd], tmp_path / "odd.svg")
        words = list(svg_root((tmp_path / "odd.svg").read_bytes()).itertext())
        assert drawn(letters) in words
        assert letters in words or not letters.isprintable()


def test_a_picture_and_a_table_of_many_classes_are_bounded(tmp_path: Path) -> None:
    classes = 10_000
    names = [f"class {number}" for number in range(classes)]
    rng = np.random.default_rng(1)
    labels = rng.integers(0, classes, 50_000)
    predicted = np.where(rng.random(50_000) < 0.5, labels, rng.integers(0, 50, 50_000))
    counts = type(confusion_of([[1]])).count(labels, predicted, classes)
    chart = confusion_matrix(counts, names)
    assert max(chart.width, chart.height) < 2400
    assert chart.title.endswith("the 20 of 10000 classes that are confused most")
    write_picture([chart], tmp_path / "chart.svg")
    assert (tmp_path / "chart.svg").stat().st_size < 200_000
    table = confusion_csv(counts, names)
    assert len(table.splitlines()) < 30_000
    assert "(9936 other classes)" in table
    path = tmp_path / "counts.csv"
    path.write_text(confusion_counts_csv(counts, names))
    again = read_confusion(path, names)
    assert (again.total, again.right, again.pairs()) == (50_000, counts.right, counts.pairs())
    html = render([run_facts(labels=names, confusion=counts, mistakes=())])
    assert len(html) < 500_000
    assert "the 20 of 10000 classes that are confused most" in html


def test_the_report_escapes_labels_warnings_and_missing_parts() -> None:
    names = ["<script>", "$$", "a\nb"]
    tags = {
        **run_facts().tags,
        "fedpipe.warnings": "loss <b>rose</b>\nsecond",
        "fedpipe.incomplete": "picture x: <i>no</i>",
    }
    html = render([run_facts(labels=names, tags=tags)])
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "<strong>Warning.</strong> loss &lt;b&gt;rose&lt;/b&gt;" in html
    assert html.count("<strong>Warning.</strong>") == 2
    assert "<strong>Not recorded.</strong> picture x: &lt;i&gt;no&lt;/i&gt;" in html
    assert "a\\nb" in html


@pytest.mark.parametrize(
    "text", [text for text in ODD if text.isprintable() and len(text) < 20 and text.strip()]
)
def test_a_table_in_the_terminal_prints_it_as_it_is(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_table(["label"], [[text]])
    assert text in capsys.readouterr().out


def test_markdown_shows_it_as_it_is() -> None:
    from markdown_it import MarkdownIt

    renderer = MarkdownIt("commonmark", {"html": True}).enable("table")
    for text in ODD:
        if not text.isprintable() or not text.strip():
            continue
        rows = f"| a | b |\n| --- | --- |\n| {markdown(text)} | {markdown_code(text)} |\n"
        tokens = renderer.parse(rows)
        cells = [token for token in tokens if token.type == "inline"][2:]
        shown = "".join(child.content for child in cells[0].children or ())
        assert (len(cells), shown) == (2, " ".join(text.split())), text
        (code,) = [child for child in cells[1].children or () if child.type == "code_inline"]
        assert code.content == text.replace("|", "¦"), text
