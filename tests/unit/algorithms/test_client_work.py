"""Client work, eagerly and without a worker: sums that fit on paper, and what a draw of the order depends on."""

from collections.abc import Callable
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from fedpipe.algorithms.client_work import ClientWork
from fedpipe.algorithms.optimizers import build_optimizer
from fedpipe.data.resident import to_bytes
from fedpipe.models import ModelSpec
from fedpipe.models.softmax import softmax
from fedpipe.seeding import derive_seed
from fedpipe.types import Examples

WHITE = np.array([[255]], np.uint8)
"""One example of one feature with value 1."""


def run(work: ClientWork, x: npt.NDArray[Any], y: list[int], seed: int = 0) -> Any:
    examples = Examples(x, np.array(y, np.int32))
    weights = [tf.constant(tensor) for tensor in work.model.initial_weights(0).values()]
    return work(
        weights,
        tf.constant(to_bytes(examples, "c")),
        tf.constant(len(y), tf.int64),
        tf.constant(seed, tf.int64),
    )


def two_classes(**settings: Any) -> ClientWork:
    return ClientWork(
        softmax((1,), 2),
        build_optimizer("sgd", 1.0),
        np.dtype("uint8"),
        by_value=True,
        **({"batch_size": 1} | settings),
    )


def test_one_step_on_one_example() -> None:
    # Zero weights: p = (1/2, 1/2). Gradient for label 0 is x (p - (1, 0)) = (-1/2, 1/2), the loss ln 2; rate 1.
    result = run(two_classes(), WHITE, [0])
    np.testing.assert_array_equal(result.update[0], [[0.5, -0.5]])
    np.testing.assert_array_equal(result.update[1], [0.5, -0.5])
    assert float(result.sums["loss"]) == pytest.approx(log(2))
    assert [int(result.sums[name]) for name in ("correct", "examples", "steps")] == [1, 1, 1]
    assert float(result.update_weight) == 1.0


def test_the_last_partial_batch_has_its_own_mean() -> None:
    # Batches of 2 over labels 0, 1, 0. First: gradients of 0 and 1 cancel. Second: one example, as in the test above.
    result = run(two_classes(batch_size=2, weighting="examples"), np.repeat(WHITE, 3, 0), [0, 1, 0])
    np.testing.assert_array_equal(result.update[1], [0.5, -0.5])
    assert [int(result.sums[name]) for name in ("correct", "examples", "steps")] == [2, 3, 2]
    assert float(result.update_weight) == 3.0


@pytest.mark.parametrize(
    ("max_steps", "examples", "steps"),
    [(None, 10, 6), (1, 2, 1), (3, 5, 3), (4, 7, 4), (5, 9, 5), (9, 10, 6)],
)
def test_max_steps_cuts_the_epochs(max_steps: int | None, examples: int, steps: int) -> None:
    # 5 examples in batches of 2 are 2 + 2 + 1; two epochs are 2 2 1 2 2 1.
    result = run(
        two_classes(batch_size=2, epochs=2, max_steps=max_steps), np.repeat(WHITE, 5, 0), [0] * 5
    )
    assert int(result.sums["examples"]) == examples
    assert int(result.sums["steps"]) == steps


def test_no_examples_no_update() -> None:
    result = run(two_classes(weighting="examples"), WHITE[:0], [])
    assert not np.any(result.update[0])
    assert float(result.update_weight) == 0.0
    assert [float(value) for value in result.sums.values()] == [0, 0, 0, 0, 0]


def test_momentum_carries_half_of_the_first_step() -> None:
    # Labels 0 then 0, rate 1, momentum 1/2. v1 = (-1/2, 1/2); kernel = bias = (1/2, -1/2), so logits (1, -1),
    # p0 = 1 / (1 + e^-2); g2 = (p0 - 1, 1 - p0); v2 = v1 / 2 + g2.
    work = ClientWork(
        softmax((1,), 2), build_optimizer("momentum", 1.0, 0.5), np.dtype("uint8"), 1, by_value=True
    )
    p0 = 1 / (1 + np.exp(-2))
    np.testing.assert_allclose(
        run(work, np.repeat(WHITE, 2, 0), [0, 0]).update[1][0], 0.5 + 0.25 + (1 - p0), rtol=1e-6
    )


def test_adams_first_step_is_its_rate() -> None:
    work = ClientWork(
        softmax((1,), 2), build_optimizer("adam", 0.01), np.dtype("uint8"), 1, by_value=True
    )
    np.testing.assert_allclose(run(work, WHITE, [0]).update[1], [0.01, -0.01], rtol=1e-5)


def test_float_features_are_taken_as_they_are() -> None:
    work = ClientWork(
        softmax((1,), 2), build_optimizer("sgd", 1.0), np.dtype("float32"), 1, by_value=True
    )
    np.testing.assert_array_equal(
        run(work, np.array([[3.0]], np.float32), [0]).update[0], [[1.5, -1.5]]
    )


def test_a_resident_file_gives_what_its_bytes_give(tmp_path: Path) -> None:
    body = to_bytes(Examples(np.repeat(WHITE, 3, 0), np.array([0, 1, 0], np.int32)), "c")
    (tmp_path / "file").write_bytes(body)
    results = []
    for by_value, data in ((True, body), (False, str(tmp_path / "file"))):
        work = ClientWork(
            softmax((1,), 2), build_optimizer("sgd", 1.0), np.dtype("uint8"), 2, by_value=by_value
        )
        zero = [tf.zeros((1, 2)), tf.zeros(2)]
        results.append(
            work(zero, tf.constant(data), tf.constant(3, tf.int64), tf.constant(0, tf.int64))
        )
    np.testing.assert_array_equal(results[0].update[0], results[1].update[0])


@pytest.fixture(scope="module")
def order() -> Callable[..., npt.NDArray[np.float32]]:
    """Return a function from a seed to the order in which 20 examples are visited, epoch by epoch."""

    def visited(seed: int, epochs: int = 2) -> npt.NDArray[np.float32]:
        seen: list[float] = []
        spec = softmax((1,), 2)

        def spy(weights: Any, x: Any) -> Any:
            seen.append(float(x[0, 0]))
            return spec.logits(weights, x)

        model = ModelSpec("spy", (1,), 2, spec.tensor_names, spec.initial_weights, spy, spec.keras)
        work = ClientWork(
            model,
            build_optimizer("sgd", 1.0),
            np.dtype("float32"),
            1,
            epochs=epochs,
            shuffle=True,
            by_value=True,
        )
        run(work, np.arange(20, dtype=np.float32).reshape(20, 1), [0] * 20, seed)
        return np.array(seen).reshape(epochs, 20)

    return visited


def test_shuffle_visits_each_example_once_an_epoch_in_an_order_of_its_own(order: Any) -> None:
    first, second = order(1)
    assert sorted(first) == sorted(second) == list(range(20))
    assert list(first) != list(second)
    assert list(first) != sorted(first)


def test_shuffle_is_a_function_of_seed_round_and_client_alone(order: Any) -> None:
    names = (1, "client", 3, "c7")
    base = order(derive_seed(*names))
    np.testing.assert_array_equal(base, order(derive_seed(*names)))
    for other in ((2, "client", 3, "c7"), (1, "client", 4, "c7"), (1, "client", 3, "c8")):
        assert (base != order(derive_seed(*other))).any()


def test_shuffle_of_an_epoch_does_not_depend_on_the_number_of_epochs(order: Any) -> None:
    np.testing.assert_array_equal(order(5, epochs=1)[0], order(5, epochs=3)[0])


def with_dead_tensors(plain: ModelSpec, frozen: bool = True) -> ModelSpec:
    """Softmax regression whose bias is frozen, or not; with a tensor that nobody reads behind it."""

    def initial_weights(seed: int) -> dict[str, Any]:
        return {**plain.initial_weights(seed), "unused": np.ones(3, np.float32)}

    def logits(weights: Any, x: Any) -> Any:
        kernel, bias, _ = weights
        return plain.logits([kernel, tf.stop_gradient(bias) if frozen else bias], x)

    return ModelSpec(
        "dead",
        plain.feature_shape,
        plain.num_classes,
        (*plain.tensor_names, "unused"),
        initial_weights,
        logits,
    )


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_a_tensor_that_the_logits_do_not_depend_on_has_a_zero_gradient(optimizer: str) -> None:
    settings: tuple[Any, ...] = (build_optimizer(optimizer, 1.0), np.dtype("uint8"), 1)
    x = np.repeat(WHITE, 2, 0)
    plain = run(ClientWork(softmax((1,), 2), *settings, by_value=True), x, [0, 1])
    unused = run(
        ClientWork(with_dead_tensors(softmax((1,), 2), frozen=False), *settings, by_value=True),
        x,
        [0, 1],
    )
    for tensor, expected in zip(unused.update, [*plain.update, np.zeros(3)], strict=True):
        np.testing.assert_array_equal(tensor, expected)
    frozen = run(
        ClientWork(with_dead_tensors(softmax((1,), 2)), *settings, by_value=True), x, [0, 1]
    )
    assert np.any(frozen.update[0])
    assert not np.any(frozen.update[1])


def test_a_model_of_which_nothing_is_trained_stays_as_it_is() -> None:
    model = with_dead_tensors(softmax((1,), 2))
    constant = replace(model, logits=lambda _weights, x: tf.zeros((tf.shape(x)[0], 2)))
    result = run(
        ClientWork(constant, build_optimizer("sgd", 1.0), np.dtype("uint8"), 1, by_value=True),
        WHITE,
        [0],
    )
    assert not any(np.any(tensor) for tensor in result.update)
    assert float(result.sums["loss"]) == pytest.approx(log(2))


def test_targets_are_read_back_as_they_were_written() -> None:
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    y = np.array([[0.5, -1.0, 3e38], [1, 2, 3], [1e-45, 0, -0.0]], np.float32)
    work = ClientWork(
        softmax((2,), 3),
        build_optimizer("sgd", 1.0),
        np.dtype("float32"),
        batch_size=2,
        by_value=True,
        target_width=3,
    )
    data = tf.constant(to_bytes(Examples(x, y), "c"))
    found_x, found_y = work.examples(data, tf.constant(3, tf.int64))
    np.testing.assert_array_equal(found_x, x)
    np.testing.assert_array_equal(found_y, y)
    assert found_y.dtype == tf.float32
