"""The rule for the best round, which checkpoints, saved weights and the result of a run share."""

import pytest

from fedpipe.engine.early_stopping import BestRound

NAN = float("nan")


@pytest.mark.parametrize(
    ("rounds", "best"),
    [
        ([], None),
        ([{}], None),
        ([{"test/accuracy": NAN}], None),
        ([{"test/accuracy": 0.3}, {}, {"test/accuracy": 0.4}, {"test/accuracy": 0.4}], 2),
        ([{"validation/accuracy": 0.3, "test/accuracy": 0.1}], 0),
        # Once validated, a test score does not count, however high it is.
        ([{"test/accuracy": 0.9}, {"validation/accuracy": 0.3}, {"test/accuracy": 1.0}], 1),
    ],
)
def test_the_best_is_the_earliest_of_the_highest(
    rounds: list[dict[str, float]], best: int | None
) -> None:
    best_round = BestRound()
    for number, metrics in enumerate(rounds):
        best_round.add(number, metrics)
    assert best_round.round_num == best


def test_a_test_score_chooses_nothing() -> None:
    best = BestRound()
    assert best.add(0, {"test/accuracy": 0.9})
    assert (best.round_num, best.chosen) == (0, None)
    assert best.add(1, {"validation/accuracy": 0.1})
    assert (best.chosen_after(0), best.chosen) == (None, 1)


def test_the_best_of_an_earlier_try_is_the_one_to_beat() -> None:
    best = BestRound(3, 0.5, "validation/accuracy")
    assert not best.add(4, {"validation/accuracy": 0.5})
    assert not best.add(5, {"test/accuracy": 0.9})
    assert best.round_num == best.chosen == 3


def test_a_best_without_a_name_is_beaten_by_a_higher_score_alone() -> None:
    best = BestRound(4, 0.9, None)  # of a checkpoint of an earlier version
    assert not best.add(5, {"train/loss": 1.0})
    assert not best.add(6, {"validation/accuracy": 0.5, "test/accuracy": 0.95})
    assert best.add(7, {"validation/accuracy": 0.91})
    assert best.round_num == best.chosen == 7
