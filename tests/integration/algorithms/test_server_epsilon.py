"""`server.epsilon` is in units of the root of the mean square, whichever optimizer reads it: Reddi et al. 2021, tau."""

import numpy as np
import pytest
import tensorflow as tf

from fedpipe.algorithms.optimizers import build_server_optimizer
from fedpipe.config.schema import ServerConfig

TAU, RATE = 0.5, 0.3
GRADIENT = np.array([0.0, 0.3, -2.0], np.float32)


def one_step(name: str) -> np.ndarray:
    optimizer = build_server_optimizer(
        ServerConfig(optimizer=name, learning_rate=RATE, epsilon=TAU)
    )  # type: ignore[arg-type]
    weights = [tf.zeros(3)]
    _, after = optimizer.next(
        optimizer.initialize([tf.TensorSpec([3])]), weights, [tf.constant(GRADIENT)]
    )
    return np.asarray(after[0])


def test_adagrad_adds_its_square_inside_the_root() -> None:
    # TFF's accumulator starts at 0.1.
    np.testing.assert_allclose(
        one_step("adagrad"), -RATE * GRADIENT / np.sqrt(0.1 + GRADIENT**2 + TAU**2), rtol=1e-6
    )


def test_adam_adds_it_to_the_root_after_the_bias_is_corrected_in_the_rate() -> None:
    # eps-hat of Kingma and Ba 2015, end of section 2: rate sqrt(1 - b2) / (1 - b1) times m / (sqrt(v) + eps).
    m, v = 0.1 * GRADIENT, 0.001 * GRADIENT**2
    expected = -RATE * np.sqrt(1 - 0.999) / (1 - 0.9) * m / (np.sqrt(v) + TAU)
    np.testing.assert_allclose(one_step("adam"), expected, rtol=1e-4)


@pytest.mark.parametrize("name", ["adam", "adagrad", "yogi"])
def test_unset_it_is_the_librarys_constant(name: str) -> None:
    optimizer = build_server_optimizer(ServerConfig(optimizer=name, learning_rate=RATE))  # type: ignore[arg-type]
    state = optimizer.initialize([tf.TensorSpec([3])])
    assert optimizer.get_hparams(state)["epsilon"] == pytest.approx(
        {"adam": 1e-7, "adagrad": 1e-7, "yogi": 1e-3}[name]
    )
