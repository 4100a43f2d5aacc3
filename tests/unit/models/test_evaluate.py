"""Evaluation on pooled examples and for each client, on models whose predictions can be worked out by hand."""

from dataclasses import replace
from math import exp, log
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedpipe.data.client_ids import ClientIds
from fedpipe.data.index import ClientIndex
from fedpipe.data.label_counts import LabelCounts
from fedpipe.data.manifest import SPLITS
from fedpipe.errors import ModelError
from fedpipe.models.calibration import calibrate
from fedpipe.models.evaluate import Evaluator, Predictor
from fedpipe.models.federated import choose_clients, evaluate_clients, pooled, spread, worst_decile
from fedpipe.models.lstm import lstm
from fedpipe.models.softmax import softmax
from fedpipe.types import Examples

# One feature, two classes: logits (0, x ln 3), so x = 1 predicts class 1 with probability 3/4, x = -1 class 0 with 3/4.
MODEL = softmax((1,), 2)
WEIGHTS = {"kernel": np.array([[0, log(3)]], np.float32), "bias": np.zeros(2, np.float32)}


def examples(xs: list[float], ys: list[int]) -> Examples:
    return Examples(np.array(xs, np.float32).reshape(-1, 1), np.array(ys, np.int32))


class Clients:
    """Client k has k + 1 examples of x = 1; of client k the first k are right, one is wrong."""

    ids = tuple(f"c{k:02d}" for k in range(20))

    def examples(self, client_id: str, split: str = "test") -> Examples:  # noqa: ARG002 - there is one
        k = int(client_id[1:])
        return examples([1.0] * (k + 1), [1] * k + [0])


def test_pooled_evaluation_by_hand() -> None:
    found = Evaluator(MODEL, examples([1, 1, -1, -1], [1, 0, 0, 0]), batch_size=3).evaluate(WEIGHTS)
    assert found.loss == pytest.approx((3 * log(4 / 3) + log(4)) / 4, rel=1e-6)
    assert found.accuracy == 0.75
    assert found.confusion.pairs() == [(0, 0, 2), (0, 1, 1), (1, 1, 1)]
    assert found.calibration.error == pytest.approx(
        0, abs=1e-6
    )  # confidence 3/4 everywhere, and three of four are right
    assert sorted(found.metrics("test")) == ["test/accuracy", "test/calibration_error", "test/loss"]


def test_one_trace_for_all_numbers_of_examples() -> None:
    traces = []

    def logits(weights: Any, x: Any) -> Any:
        traces.append(x.shape)
        return MODEL.logits(weights, x)

    predictor = Predictor(replace(MODEL, logits=logits), batch_size=3)
    for count in (1, 2, 3, 4, 5, 8):
        found = predictor.predict(WEIGHTS, examples([1.0] * count, [1] * count))
        np.testing.assert_allclose(found.confidences, [0.75] * count, rtol=1e-6)
    assert len(traces) == 1


def test_calibration_error_by_hand() -> None:
    # 0.9, 0.9: one of two right; 0.6: right. |1 - 1.8| / 3 + |1 - 0.6| / 3.
    found = calibrate(np.array([0.9, 0.9, 0.6], np.float32), np.array([True, False, True]))
    assert found.error == pytest.approx(0.4)
    assert [row[2:] for row in found.rows()] == [
        (1, pytest.approx(0.6), 1.0),
        (2, pytest.approx(0.9), 0.5),
    ]


@given(st.lists(st.tuples(st.floats(1e-6, 1), st.booleans()), min_size=1, max_size=50))
def test_calibration_counts_every_prediction_and_its_error_is_a_fraction(
    values: list[tuple[float, bool]],
) -> None:
    confidences, hits = (
        np.array([c for c, _ in values], np.float32),
        np.array([h for _, h in values]),
    )
    found = calibrate(confidences, hits)
    assert (found.counts.sum(), found.correct.sum()) == (len(values), hits.sum())
    assert 0 <= found.error <= 1
    # The error of fewer bins is never larger: with one bin it is |accuracy - mean confidence|.
    assert found.error >= abs(hits.mean() - confidences.astype(float).mean()) - 1e-6


def test_evaluation_of_clients_by_hand() -> None:
    found = evaluate_clients(Predictor(MODEL), WEIGHTS, Clients(), Clients.ids)
    np.testing.assert_allclose(found.accuracies, [k / (k + 1) for k in range(20)])
    np.testing.assert_allclose(
        found.losses, [(k * log(4 / 3) + log(4)) / (k + 1) for k in range(20)], rtol=1e-6
    )
    figures = found.metrics("participating")
    assert figures["participating/clients"] == 20
    assert figures["participating/accuracy"] == pytest.approx(sum(range(20)) / 210)  # over examples
    assert figures["participating/accuracy_mean"] == pytest.approx(
        np.mean([k / (k + 1) for k in range(20)])
    )  # over clients
    assert figures["participating/accuracy_worst_decile"] == 0.25  # of c00 and c01: 0 and 1/2
    assert figures["participating/accuracy_p50"] == pytest.approx((9 / 10 + 10 / 11) / 2)
    assert found.metrics("held_out").keys() == {
        key.replace("participating", "held_out") for key in figures
    }
    assert evaluate_clients(Predictor(MODEL), WEIGHTS, Clients(), ()).metrics("held_out") == {}


def test_clients_are_evaluated_together_as_they_are_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedpipe.models.federated._AT_ONCE", 7)
    predictor = Predictor(MODEL, batch_size=4)
    together = evaluate_clients(predictor, WEIGHTS, Clients(), Clients.ids)
    alone = [evaluate_clients(predictor, WEIGHTS, Clients(), [one]) for one in Clients.ids]
    np.testing.assert_allclose(together.losses, [one.losses[0] for one in alone], rtol=1e-6)
    assert together.accuracies.tolist() == [one.accuracies[0] for one in alone]
    assert len(pooled(Clients(), Clients.ids, "validation")) == 210


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_the_spread_is_ordered(values: list[float]) -> None:
    figures, worst = spread("x", np.array(values)), worst_decile(np.array(values))
    assert worst <= figures["x_mean"] + 1e-12
    assert figures["x_p10"] <= figures["x_p50"] <= figures["x_p90"]
    assert min(values) <= worst


def index(clients: int) -> ClientIndex:
    counts = np.ones((clients, 2), np.int32)
    counts[::10] = 0  # every tenth has no examples
    held_out = np.arange(clients) % 4 == 1
    label_counts = LabelCounts.of_dense(counts)
    return ClientIndex(
        ClientIds.of(f"c{i:05d}" for i in range(clients)),
        held_out,
        dict.fromkeys(SPLITS, label_counts),
    )


def test_at_most_so_many_clients_are_read_whatever_the_population() -> None:
    population = index(50_000)
    chosen = choose_clients(population, "test", held_out=False, most=100, seed=1)
    assert len(set(chosen)) == 100
    assert (
        chosen
        == tuple(sorted(chosen))
        == choose_clients(population, "test", held_out=False, most=100, seed=1)
    )
    assert chosen != choose_clients(population, "test", held_out=False, most=100, seed=2)
    assert all(int(one[1:]) % 4 != 1 and int(one[1:]) % 10 for one in chosen)
    everyone = choose_clients(index(40), "test", held_out=True, most=100, seed=1)
    assert everyone == tuple(f"c{i:05d}" for i in range(40) if i % 4 == 1 and i % 10)


def test_tokens_are_evaluated_without_padding() -> None:
    model = lstm((6,), 5, positions="all")
    weights: Any = model.initial_weights(1)
    x = np.array([[1, 2, 3, 0, 0, 0], [4, 0, 0, 0, 0, 0]], np.int32)
    both = Predictor(model).predict(weights, Examples(x, np.array([4, 1], np.int32)))
    assert both.rows.tolist() == [0, 0, 0, 1]
    assert both.labels.tolist() == [2, 3, 4, 1]
    logits = np.asarray(model.logits(list(weights.values()), x[:1, :3]))[0]
    expected = [
        log(sum(exp(value) for value in row)) - row[label]
        for row, label in zip(logits, (2, 3, 4), strict=True)
    ]
    np.testing.assert_allclose(both.losses[:3], expected, rtol=1e-5)
    scores = evaluate_clients(Predictor(model), weights, TwoTexts(x), ["a"])
    assert scores.predictions.tolist() == [4]


class TwoTexts:
    def __init__(self, x: Any) -> None:
        self.x = x

    def examples(self, client_id: str, split: str = "test") -> Examples:  # noqa: ARG002 - there is one
        return Examples(self.x, np.array([4, 1], np.int32))


def test_a_token_that_the_model_does_not_have_is_named() -> None:
    model = lstm((2,), 5)
    with pytest.raises(
        ModelError, match=r"expected tokens from 0 to 4, found 9\. Set model\.tokens to 10 or more"
    ):
        Evaluator(model, Examples(np.array([[1, 9]], np.int32), np.zeros(1, np.int32))).evaluate(
            model.initial_weights(1)
        )
