"""From made-up runs to cells, comparisons and files."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedpipe.config import Config
from fedpipe.config.study import StudyConfig
from fedpipe.study.plan import Plan, PlannedRun
from fedpipe.study.result_files import cells_csv, comparisons_csv, latex, page, write_results
from fedpipe.study.results import FinishedRun, StudyResult, conclude

SEEDS = 10
ALPHAS = [0.1, 1.0]


def result_of(gain: float, seeds: int = SEEDS, target: float | None = 0.6) -> StudyResult:
    """A study of two arms, the second better by `gain`, over two conditions."""
    study = StudyConfig.model_validate(
        {
            "name": "made-up",
            "arms": {"plain": {}, "a_b": {"client.epochs": 2}},
            "conditions": {"data.alpha": ALPHAS},
            "seeds": seeds,
            "target": target,
        }
    )
    rng = np.random.default_rng(3)
    runs = []
    for alpha in ALPHAS:
        for seed in study.seed_list:
            level = 0.5 + rng.normal(0, 0.05)
            for arm in study.arms:
                score = level + gain * (arm == "a_b") + rng.normal(0, 0.001)
                planned = PlannedRun(
                    arm, {"data.alpha": alpha}, seed, Config(), f"{arm}{alpha}{seed}"
                )
                rows = tuple(
                    {
                        "round": number,
                        "test/accuracy": score * number / 4,
                        "traffic/up_bytes": 100.0 * (number > 0),
                    }
                    for number in range(5)
                )
                runs.append(FinishedRun(planned, "id", score, rows, "hash", 0.5))
    return conclude(Plan(study, "test/accuracy", tuple(run.planned for run in runs)), runs)


def test_a_planted_difference_is_shown_and_named() -> None:
    result = result_of(0.2)
    assert [one.verdict for one in result.comparisons] == ["a_b is better"] * 2
    assert all(one.significant for one in result.comparisons)
    assert result.comparisons[0].difference.mean == pytest.approx(-0.2, abs=0.002)
    assert result.comparisons[0].p_corrected == pytest.approx(2 * 2 / 2**SEEDS)
    assert result.ranks == {"plain": 2.0, "a_b": 1.0}
    assert result.note == ""


def test_where_there_is_none_it_is_said_in_words() -> None:
    assert {one.verdict for one in result_of(0.0).comparisons} == {"no difference shown"}


def test_too_few_seeds_for_any_difference_are_said_with_how_many_are_needed() -> None:
    result = result_of(0.2, seeds=4)
    assert {one.verdict for one in result.comparisons} == {"no difference shown"}
    assert result.note.endswith("Set seeds to 7 or more.")
    assert 2 * 2 / 2**7 < 0.05 < 2 * 2 / 2**6


def test_runs_of_several_commits_are_said() -> None:
    assert result_of(0.2).commits == ("none",)
    mixed = replace(result_of(0.2), commits=("a" * 40, "b" * 40))
    assert mixed.note.startswith(f"The runs are of 2 commits, {'a' * 12}, {'b' * 12}:")


def test_rounds_bytes_and_seconds_to_a_target_are_those_of_the_first_round_there() -> None:
    result = result_of(0.2)
    cell = next(cell for cell in result.cells if cell.arm == "a_b")
    scores = np.array(cell.scores)
    assert cell.reached == (scores >= 0.6).sum() > 0
    assert cell.rounds_to_target == 4
    assert (cell.bytes_to_target, cell.seconds_to_target) == (400, 2.0)
    plain = next(cell for cell in result.cells if cell.arm == "plain")
    assert plain.reached == sum(score >= 0.6 for score in plain.scores)


def test_the_tables_have_every_cell_and_comparison() -> None:
    result = result_of(0.2)
    cells = list(csv.DictReader(io.StringIO(cells_csv(result))))
    assert [(row["arm"], row["data.alpha"]) for row in cells] == [
        ("plain", "0.1"),
        ("a_b", "0.1"),
        ("plain", "1.0"),
        ("a_b", "1.0"),
    ]
    assert float(cells[0]["mean"]) == result.cells[0].summary.mean
    compared = list(csv.DictReader(io.StringIO(comparisons_csv(result))))
    assert [row["verdict"] for row in compared] == ["a_b is better"] * 2
    text = latex(result)
    assert "data.alpha=0.1 & $" in text
    assert "a\\_b \\\\" in text
    assert text.count("^{1}") == 2, "the better arm is marked in each condition"


def test_the_page_has_tables_bands_and_no_script() -> None:
    html = page(result_of(0.2))
    assert html.count('class="band fill') == 4
    assert "a_b is better" in html
    assert "<script" not in html
    assert "http://" not in html.replace("http://www.w3.org", "")


def test_the_same_result_gives_the_same_files(tmp_path: Path) -> None:
    result = result_of(0.1)
    first = {
        name: path.read_bytes() for name, path in write_results(result, tmp_path / "a").items()
    }
    again = {
        name: path.read_bytes() for name, path in write_results(result, tmp_path / "b").items()
    }
    assert first == again
    assert json.loads(first["study.json"]) == json.loads(json.dumps(result.to_json()))
    assert replace(result, target=None).to_json()["cells"][0].get("reached") is None
