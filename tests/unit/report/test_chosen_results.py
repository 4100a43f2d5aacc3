"""Which weights a report's results are of, and the order of its clients."""

from fedpipe.report.clients import participation
from fedpipe.tracking.participation import ClientRound
from tests.unit.report.reports import run_facts


def test_results_are_of_the_round_that_validation_chose() -> None:
    both = {"final/test/accuracy": 0.7, "best/test/accuracy": 0.8}
    assert run_facts(metrics=both).result("test/accuracy") == 0.8
    worse = {"final/test/accuracy": 0.9, "best/test/accuracy": 0.8}
    assert run_facts(metrics=worse).result("test/accuracy") == 0.8, "not the higher of the two"


def test_results_without_validation_are_of_the_last_round() -> None:
    assert run_facts(metrics={"final/test/accuracy": 0.7}).result("test/accuracy") == 0.7


def test_clients_with_the_most_examples_come_first() -> None:
    clients = [
        ClientRound(1, "few", "reported", 10),
        ClientRound(1, "many", "reported", 300),
        ClientRound(2, "some", "reported", 40),
        ClientRound(2, "also_some", "reported", 40),
    ]
    section = participation(run_facts(clients=clients))
    assert section is not None
    assert section.table is not None
    assert [row[0] for row in section.table.rows] == ["many", "also_some", "some", "few"]
