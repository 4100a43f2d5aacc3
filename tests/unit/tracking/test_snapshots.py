import numpy as np

from fedpipe.tracking.snapshots import SnapshotPolicy
from fedpipe.types import RoundReport


def report(round_num, accuracy=None):
    metrics = {} if accuracy is None else {"test/accuracy": accuracy}
    return RoundReport(round_num, (), (), metrics, 0, 0.0, {"a": np.zeros(1, np.float32)})


def test_round_0_and_every_kth_are_kept():
    policy = SnapshotPolicy(save_every=4)
    assert [r for r in range(10) if policy.take(report(r))] == [0, 4, 8]
    assert policy.last.round_num == 9


def test_the_best_is_the_earliest_of_the_highest_and_needs_an_evaluation():
    policy = SnapshotPolicy(save_every=1)
    bests = []
    for round_num, accuracy in enumerate([None, 0.2, 0.5, None, 0.5, 0.4, 0.6]):
        policy.take(report(round_num, accuracy))
        bests.append(policy.best.round_num if policy.best else None)
    assert bests == [None, 1, 2, 2, 2, 2, 6]


def test_an_accuracy_that_is_no_number_is_never_the_best():
    policy = SnapshotPolicy(save_every=1)
    for round_num, accuracy in enumerate([float("nan"), 0.2, float("nan")]):
        policy.take(report(round_num, accuracy))
    assert policy.best.round_num == 1
