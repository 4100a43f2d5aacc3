"""TFF's tutorial with what a run over many clients has to do: the cohort's datasets are built anew each round. Stock runtime."""

from benchmarks.lib.systems.line import Line, read_job
from benchmarks.lib.systems.with_tensorflow import evaluator_of, model_of, tutorial_datasets
from fedpipe.algorithms.fedavg_reference import build_process


def main() -> None:
    """Run rounds as asked."""
    job, line = read_job(), Line()
    process = build_process(model_of(job), job.learning_rate, seed=1).learning
    evaluate, state = evaluator_of(job), process.initialize()
    while True:
        line.step(lambda: evaluate(state))  # noqa: B023 - called before the next assignment
        state = process.next(state, tutorial_datasets(job))


if __name__ == "__main__":
    main()
