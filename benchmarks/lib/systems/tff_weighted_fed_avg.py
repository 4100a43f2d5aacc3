"""TFF's own ready-made algorithm, `tff.learning.algorithms.build_weighted_fed_avg`: stock runtime, datasets from Python."""

import tensorflow_federated as tff

from benchmarks.lib.systems.line import Line, read_job
from benchmarks.lib.systems.with_tensorflow import evaluator_of, model_of, tutorial_datasets
from fedpipe.algorithms.fedavg_reference import make_model_fn


def main() -> None:
    """Run rounds as asked."""
    job, line = read_job(), Line()
    process = tff.learning.algorithms.build_weighted_fed_avg(
        make_model_fn(model_of(job)),
        client_optimizer_fn=tff.learning.optimizers.build_sgdm(job.learning_rate),
        server_optimizer_fn=tff.learning.optimizers.build_sgdm(1.0),
    )
    datasets, evaluate = tutorial_datasets(job), evaluator_of(job)
    start = tff.learning.models.ModelWeights(list(job.weights.values()), [])
    state = process.set_model_weights(process.initialize(), start)
    while True:
        line.step(lambda: evaluate(process.get_model_weights(state).trainable))  # noqa: B023 - called before the next assignment
        state = process.next(state, datasets).state


if __name__ == "__main__":
    main()
