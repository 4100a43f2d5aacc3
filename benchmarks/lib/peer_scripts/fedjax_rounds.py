"""FedJAX: `fedjax.algorithms.fed_avg`, its faster FedAvg, on the backend named in the environment (`jit` or `pmap`).

Runs in FedJAX's own venv. The parent sets `XLA_FLAGS` before JAX starts: `pmap` needs one host device per core.
"""

import os

import fedjax
import jax
import jax.numpy as jnp
import numpy as np
from fedjax.algorithms import fed_avg

from benchmarks.lib.systems.line import Line, read_job


def softmax(params, x):
    """Return the logits of softmax regression for float32 [n, 28, 28]."""
    return jnp.reshape(x, (len(x), -1)) @ params["kernel"] + params["bias"]


def cnn(params, x):
    """Return the logits of McMahan et al.'s network for float32 [n, 28, 28]; channels last, what XLA's CPU backend is made for."""
    hidden = x[..., None]
    for layer in ("conv1", "conv2"):
        hidden = jax.lax.conv_general_dilated(
            hidden,
            params[f"{layer}/kernel"],
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        hidden = jax.lax.reduce_window(
            hidden, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"
        )
        hidden = jax.nn.relu(hidden + params[f"{layer}/bias"])
    hidden = jnp.reshape(hidden, (len(x), -1))
    hidden = jax.nn.relu(hidden @ params["dense/kernel"] + params["dense/bias"])
    return hidden @ params["logits/kernel"] + params["logits/bias"]


def main():
    """Build FedAvg and run rounds for as long as they are asked for."""
    job, line = read_job(), Line()
    fedjax.set_for_each_client_backend(os.environ["FEDJAX_BACKEND"])
    logits = {"softmax": softmax, "cnn": cnn}[job.model]

    def loss(params, batch):
        log_probabilities = jax.nn.log_softmax(logits(params, batch["x"]))
        return -jnp.mean(jnp.take_along_axis(log_probabilities, batch["y"][:, None], axis=1))

    algorithm = fed_avg.federated_averaging(
        lambda params, batch, _: jax.grad(loss)(params, batch),
        fedjax.optimizers.sgd(job.learning_rate),
        fedjax.optimizers.sgd(1.0),
        fedjax.ShuffleRepeatBatchHParams(
            batch_size=job.batch_size, num_epochs=1, skip_shuffle=True
        ),
    )
    datasets = [
        fedjax.ClientDataset({"x": np.float32(x) / 255, "y": y})
        for x, y in zip(job.x, job.y, strict=True)
    ]
    keys = jax.random.split(jax.random.PRNGKey(0), len(datasets))
    cohort = [
        (str(number), dataset, key)
        for number, (dataset, key) in enumerate(zip(datasets, keys, strict=True))
    ]
    test_x, predict = np.float32(job.test_x) / 255, jax.jit(logits)
    state = algorithm.init({name: jnp.asarray(value) for name, value in job.weights.items()})

    def accuracy():
        return float(np.mean(np.argmax(predict(state.params, test_x), axis=1) == job.test_y))

    while True:
        line.step(accuracy)
        state, _ = algorithm.apply(state, cohort)
        jax.block_until_ready(state.params)


if __name__ == "__main__":
    main()
