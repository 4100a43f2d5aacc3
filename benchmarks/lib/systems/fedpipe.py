"""fedpipe's `fedavg` as its flow runs it: own runtime with isolation, resident data, the round loop with its metrics and checks.

A round's clock stops at the loop's report, which is after train metrics, the weights' way back to Python and their check.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.lib.systems.line import Job, Line, read_job
from benchmarks.lib.systems.with_tensorflow import evaluator_of, model_of
from fedpipe.algorithms.aggregation import mean
from fedpipe.algorithms.recipe import Recipe, build_client_work
from fedpipe.algorithms.recipe_algorithm import RecipeAlgorithm
from fedpipe.config import Config
from fedpipe.data.resident import ResidentCache
from fedpipe.engine.loop import run_rounds
from fedpipe.engine.runtime import Runtime
from fedpipe.models import ModelSpec
from fedpipe.types import CohortPlan, Examples, RoundReport

MANY_ROUNDS = 1_000_000
"""More than are asked for: the line ends the process first."""


class JobClients:
    """The job's clients, as the resident cache asks for them."""

    def __init__(self, job: Job) -> None:
        """Take the job."""
        self._job = job
        self.ids = tuple(f"c{k:05}" for k in range(len(job.x)))

    def examples(self, client_id: str) -> Examples:
        """Return the client's examples."""
        k = int(client_id[1:])
        return Examples(self._job.x[k], self._job.y[k])

    def num_examples(self, client_id: str) -> int:
        """Return how many they are."""
        return len(self._job.y[int(client_id[1:])])


class LineSink:
    """A `RoundSink` at the benchmark's line."""

    def __init__(self, line: Line, evaluate: Callable[[Sequence[Any]], float]) -> None:
        """Take the line, and what tells the accuracy of weights."""
        self._line, self._evaluate = line, evaluate

    def round_done(self, report: RoundReport) -> None:
        """Report the round and wait for the next."""
        self._line.step(lambda: self._evaluate(list(report.weights.values())))


def run(build: Callable[[Job], ModelSpec]) -> None:
    """Run rounds as asked, of the model that is built for the job."""
    job, line = read_job(), Line()
    clients = JobClients(job)
    config = Config.model_validate(
        {
            "data": {"clients": len(clients.ids)},
            "cohort": {"size": len(clients.ids)},
            "model": {"name": job.model},
            "client": {"batch_size": job.batch_size, "learning_rate": job.learning_rate},
        }
    )
    work = build_client_work(config, build(job), np.dtype(job.x.dtype))
    with (
        tempfile.TemporaryDirectory() as folder,
        Runtime(config.runtime, Path(folder) / "worker.log") as runtime,
    ):
        runtime.start()
        cache = ResidentCache(
            Path(folder) / "clients", clients, ["benchmark"], config.runtime.cache_max_bytes
        )
        plan = CohortPlan("fixed", config.seed, (clients.ids,) * MANY_ROUNDS)
        algorithm = RecipeAlgorithm(config, Recipe(work, mean()), cache)
        run_rounds(
            algorithm, runtime, plan, lambda _: {}, MANY_ROUNDS, [LineSink(line, evaluator_of(job))]
        )


if __name__ == "__main__":
    run(model_of)
