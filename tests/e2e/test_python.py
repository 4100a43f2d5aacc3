"""`import fedpipe` in one process with a running event loop, as a notebook has it: two runs, what
they can be asked, and the errors.
"""

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import User

SCRIPT = Path(__file__).with_name("python_session.py")


@pytest.fixture(scope="module")
def person(make_user: Callable[..., User]) -> User:
    return make_user()


@pytest.fixture(scope="module")
def session(person: User) -> dict[str, Any]:
    """What the session found, by question."""
    result = person.home / "session.json"
    person.run(sys.executable, "-P", str(SCRIPT), str(person.project), str(result), timeout=580)
    answers: dict[str, Any] = json.loads(result.read_text())
    return answers


def test_the_second_run_of_a_process_takes_less_time(session: dict[str, Any]) -> None:
    first, second = session["seconds"]
    assert second < first
    assert session["servers"] == [1, 0]


def test_both_runs_have_the_same_bits_as_their_tags_and_the_command_line(
    person: User, session: dict[str, Any]
) -> None:
    assert len(set(session["weights"].values())) == 1
    summary = person.train("-S", "rounds=4", "-S", "client.learning_rate=0.1")
    assert summary["weights_sha256"] == session["weights"]["first"]
    assert set(summary) == set(session["summary"])
    assert summary["final"] == session["summary"]["final"]


def test_metrics_are_those_of_the_table_of_rounds(session: dict[str, Any]) -> None:
    table = Path(session["summary"]["run_dir"]) / "rounds.csv"
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["round"] for row in session["metrics"]] == [0, 1, 2, 3, 4]
    for row, recorded in zip(session["metrics"], rows, strict=True):
        by_column = {key.replace("/", "_"): value for key, value in row.items()}
        for column, text in recorded.items():
            assert by_column.get(column) == (float(text) if text else None), column


def test_params_are_the_values_that_were_used(session: dict[str, Any]) -> None:
    params = session["params"]
    assert params["client.learning_rate"] == 0.1
    assert params["rounds"] == 4
    assert params["cohort.size"] == 10


def test_clients_and_cohorts(session: dict[str, Any]) -> None:
    assert session["clients"]["rows"] == 100
    assert {"held_out", "predictions", "loss", "accuracy"} <= set(session["clients"]["columns"])
    assert list(session["cohorts"]) == ["1", "2", "3", "4"]
    assert all(len(cohort) == 10 for cohort in session["cohorts"].values())


def test_weights_that_are_not_kept_are_named(session: dict[str, Any]) -> None:
    assert session["kept"] == [0, 2, 4]
    assert "which are 0, 2, 4" in session["errors"]["a round that is not kept"]


def test_the_model_predicts_as_the_command_does(person: User, session: dict[str, Any]) -> None:
    file = person.home / "digits.npz"
    out = person.run("fedpipe", "predict", session["id"], str(file), "--json").stdout
    predictions = json.loads(out)["predictions"]
    assert [row["probabilities"] for row in predictions] == session["model"]["array"]
    assert session["model"]["columns"] == [str(digit) for digit in range(10)]


def test_the_report_and_the_run_are_shown(session: dict[str, Any]) -> None:
    assert Path(session["report"]).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert session["html"].startswith("<table>")
    assert "image/svg+xml" in session["html"]
    assert "finished, 4 rounds, test/accuracy" in session["repr"]


def test_runs_lists_what_the_command_lists(person: User, session: dict[str, Any]) -> None:
    assert session["runs"] == ["second", "first"]
    assert session["filtered"] == ["second"]
    listed = json.loads(person.run("fedpipe", "runs", "--json", "-f", "name=first").stdout)
    assert [run["run_id"] for run in listed["runs"]] == [session["id"]]
    table = person.run("fedpipe", "runs").stdout
    assert "first" in table
    assert "softmax" in table
    assert person.run("fedpipe", "runs", "--csv").stdout.startswith("run_id,name,status,")


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("unknown key", "ConfigError: "),
        ("bad value", "ConfigError: -S rounds=0"),
        ("no project", "ConfigError: "),
        ("no such run", "TrackingError: "),
        ("another shape", "DataError: the array: expected 784 numbers"),
        ("code that fails", "ModelError: model.name=broken:build"),
    ],
)
def test_errors_are_fedpipes_and_one_line(session: dict[str, Any], case: str, words: str) -> None:
    text = session["errors"][case]
    assert text.startswith(words)
    assert "\n" not in text


def test_changed_code_of_the_users_own_is_imported_again(session: dict[str, Any]) -> None:
    assert session["shapes"] == [[784, 16], [784, 5]]


def test_the_folder_stays_and_nothing_is_left(session: dict[str, Any]) -> None:
    assert session["folder"] == [session["started_in"]] * 2
    assert session["stdout"] == ""


def test_a_finished_run_is_resumed_to_itself(session: dict[str, Any]) -> None:
    assert session["resumed"] == session["id"]


def test_a_stopped_run_says_how_to_continue_and_is_resumed(session: dict[str, Any]) -> None:
    stopped = session["interrupted"]
    assert stopped["message"] == (
        "interrupted. Continue with fedpipe.load_run('stopped').resume()."
    )
    assert 3 <= stopped["rounds"] < 400
    assert stopped["status"] == "killed"
    assert "Finish it with resume()" in stopped["summary"]
    assert (stopped["resumed"], stopped["rows"]) == ("finished", 401)
