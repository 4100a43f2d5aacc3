"""What is kept of each round: each once, also over interruptions; who took part adds up to what the rounds counted."""

import json

import numpy as np
import pytest

from fedpipe.config.schema import ClientConfig
from fedpipe.runs.history import History, processed
from fedpipe.tracking.participation import ClientRound, ClientTotal, read_clients, totals
from fedpipe.types import CohortPlan, RoundReport, Turnout, weights_sha256

HELD = {"a": 50, "b": 30, "c": 10}
PLAN = CohortPlan("uniform", 1, (("a", "b"), ("b", "c"), ("a", "c")))
CLIENT = ClientConfig(batch_size=20, epochs=2)


def report(number, failed=(), examples=None):
    cohort = PLAN.cohort(number) if number else ()
    seen = (
        sum(2 * HELD[one] for one in cohort if one not in failed) if examples is None else examples
    )
    weights = {"kernel": np.full((2, 3), number, np.float32), "bias": np.zeros(3, np.float32)}
    return RoundReport(number, cohort, failed, {}, seen, 0.1, weights)


def open_history(folder):
    return History(folder, PLAN, CLIENT, HELD.__getitem__)


def test_each_client_of_each_round(tmp_path):
    history = open_history(tmp_path)
    for each in (report(0), report(1), report(2, failed=("b",)), report(3)):
        history.round_done(each)
    history.write_clients()
    assert read_clients(history.clients_path) == [
        ClientRound(1, "a", "reported", 100),  # 2 epochs of 50
        ClientRound(1, "b", "reported", 60),
        ClientRound(2, "b", "failed", 0),
        ClientRound(2, "c", "reported", 20),
        ClientRound(3, "a", "reported", 100),
        ClientRound(3, "c", "reported", 20),
    ]
    assert totals(read_clients(history.clients_path)) == [
        ClientTotal("a", (1, 3), 0, 200),
        ClientTotal("b", (1,), 1, 60),
        ClientTotal("c", (2, 3), 0, 40),
    ]


def test_who_was_asked_and_did_not_take_part(tmp_path):
    turnout = Turnout(("a",), ("b",), ("c",), ("d",), 4, 2.0)
    history = History(
        tmp_path, CohortPlan("uniform", 1, (("a",),), (turnout,)), CLIENT, HELD.__getitem__
    )
    history.round_done(RoundReport(1, ("a",), (), {}, 100, 0.1, {"bias": np.zeros(3, np.float32)}))
    history.write_clients()
    found = [
        (each.client_id, each.status, each.examples) for each in read_clients(history.clients_path)
    ]
    assert found == [
        ("a", "reported", 100),
        ("b", "dropped", 0),
        ("c", "late", 0),
        ("d", "surplus", 0),
    ]
    assert [
        (total.client_id, total.rounds)
        for total in totals(read_clients(history.clients_path))
        if total.examples
    ] == [("a", (1,))]


def test_weights_of_each_round_and_tensor(tmp_path):
    history = open_history(tmp_path)
    history.round_done(report(0))
    history.round_done(report(1))
    history.flush()
    first, second = map(json.loads, history.weights_path.read_text().splitlines())
    assert second["sha256"] == weights_sha256(report(1).weights)
    assert first["tensors"]["bias"] == second["tensors"]["bias"]
    assert first["tensors"]["kernel"] != second["tensors"]["kernel"]


def test_a_killed_run_goes_on_with_each_round_once(tmp_path):
    history = open_history(tmp_path)
    history.round_done(report(0))
    history.round_done(report(1, failed=("a",)))
    history.flush()
    with history.weights_path.open("a") as file:
        file.write('{"round": 2, "sha')  # killed in the middle of a line
    again = open_history(tmp_path)
    for each in (report(1, failed=("a",)), report(2), report(3)):  # round 1 is the checkpoint's
        again.round_done(each)
    again.write_clients()
    assert [json.loads(line)["round"] for line in again.weights_path.read_text().splitlines()] == [
        0,
        1,
        2,
        3,
    ]
    rows = read_clients(again.clients_path)
    assert len({(row.round_num, row.client_id) for row in rows}) == len(rows) == 6
    assert rows[0] == ClientRound(1, "a", "failed", 0)


def test_a_line_that_cannot_be_written_stops_the_next_round(tmp_path):
    history = open_history(tmp_path)
    history.weights_path.mkdir()
    history.round_done(report(0))
    with pytest.raises(IsADirectoryError):
        history.round_done(report(1))


def test_where_an_algorithm_counts_in_its_own_way_what_clients_hold_is_given(tmp_path):
    history = open_history(tmp_path)
    history.round_done(report(1, examples=7))
    history.write_clients()
    assert [row.examples for row in read_clients(history.clients_path)] == [50, 30]


def test_a_run_without_rounds_has_a_table_without_rows(tmp_path):
    history = open_history(tmp_path)
    history.round_done(report(0))
    history.write_clients()
    assert read_clients(history.clients_path) == []


@pytest.mark.parametrize(
    ("settings", "count", "expected"),
    [
        ({"batch_size": 20, "epochs": 1}, 50, 50),
        ({"batch_size": 20, "epochs": 3}, 50, 150),
        ({"batch_size": 20, "epochs": 3, "max_steps": 2}, 50, 40),
        ({"batch_size": 20, "epochs": 3, "max_steps": 3}, 50, 50),  # the third batch has 10
        ({"batch_size": 20, "epochs": 3, "max_steps": 100}, 50, 150),
        ({"batch_size": 20, "epochs": 3}, 0, 0),
    ],
)
def test_examples_that_a_client_processes(settings, count, expected):
    assert processed(ClientConfig(**settings), count) == expected
