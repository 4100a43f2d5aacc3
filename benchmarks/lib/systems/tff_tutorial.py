"""TFF as in its tutorial "Building Your Own Federated Learning Algorithm": its code, stock runtime, datasets from Python.

The computations are those of `fedpipe.algorithms.fedavg_reference`, which is the tutorial's algorithm; the loop is the tutorial's:
the clients' datasets are made once and handed to every round.
"""

from benchmarks.lib.systems.line import Line, read_job
from benchmarks.lib.systems.with_tensorflow import evaluator_of, model_of, tutorial_datasets
from fedpipe.algorithms.fedavg_reference import build_process


def main() -> None:
    """Run rounds as asked."""
    job, line = read_job(), Line()
    process = build_process(model_of(job), job.learning_rate, seed=1).learning
    datasets, evaluate = tutorial_datasets(job), evaluator_of(job)
    state = process.initialize()
    while True:
        line.step(lambda: evaluate(state))  # noqa: B023 - called before the next assignment
        state = process.next(state, datasets)


if __name__ == "__main__":
    main()
