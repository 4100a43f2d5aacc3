"""FedJAX's algorithms on the cases of `benchmarks.oracles`; runs in FedJAX's own venv.

FedJAX's batches run over the end of an epoch. Its algorithms are given fedpipe's batches instead, with a smaller last one.
"""

import fedjax
import jax
import jax.numpy as jnp
import numpy as np
from fedjax.algorithms import fed_avg, fed_prox, mime_lite

from benchmarks.lib.peer_scripts.oracle_job import OracleJob, whole_epochs


class InOrder(fedjax.ClientDataset):
    """A client's examples in batches of whole epochs."""

    def shuffle_repeat_batch(self, hparams=None, **_):
        """Yield the batches of all epochs."""
        examples = self.all_examples()
        size = None if hparams.batch_size > len(self) else hparams.batch_size
        return [
            {name: value[start:end] for name, value in examples.items()}
            for start, end in whole_epochs(len(self), hparams.num_epochs, size)
        ]


def losses(params, batch, _):
    """Return the cross-entropy of each example."""
    log_probabilities = jax.nn.log_softmax(batch["x"] @ params["kernel"] + params["bias"])
    return -jnp.take_along_axis(log_probabilities, batch["y"][:, None], axis=1)[:, 0]


def build(case):
    """Return FedJAX's algorithm of a case."""
    rate = case.get("rate", 0.1)
    client = fedjax.optimizers.sgd(rate, momentum=case.get("momentum"))
    server = fedjax.optimizers.sgd(1.0)
    batches = fedjax.ShuffleRepeatBatchHParams(
        batch_size=case.get("batch_size", 20) or 10**9, num_epochs=case.get("epochs", 2)
    )
    if case["algorithm"] == "fedavg":
        gradient = jax.grad(lambda params, batch, key: jnp.mean(losses(params, batch, key)))
        return fed_avg.federated_averaging(gradient, client, server, batches)
    if case["algorithm"] == "fedprox":
        return fed_prox.fed_prox(losses, client, server, batches, case["mu"])
    return mime_lite.mime_lite(
        losses, client, batches, fedjax.PaddedBatchHParams(batch_size=128), 1.0
    )


def main():
    """Run each case and answer with the weights after every round."""
    job, answer = OracleJob(), {}
    fedjax.set_for_each_client_backend("jit")
    for name, case in job.values["cases"].items():
        algorithm = build(case)
        state = algorithm.init({"kernel": jnp.zeros((784, 10)), "bias": jnp.zeros(10)})
        for number, cohort in enumerate(case["cohorts"]):
            keys = jax.random.split(jax.random.PRNGKey(number), len(cohort))
            pairs = [
                (client, job.examples(client), key)
                for client, key in zip(sorted(cohort), keys, strict=True)
            ]
            state, _ = algorithm.apply(
                state, [(client, InOrder({"x": x, "y": y}), key) for client, (x, y), key in pairs]
            )
            answer[f"{name}/{number}/0"] = np.asarray(state.params["kernel"])
            answer[f"{name}/{number}/1"] = np.asarray(state.params["bias"])
    job.answer(arrays=answer)


if __name__ == "__main__":
    main()
