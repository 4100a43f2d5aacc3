"""TFF's `build_weighted_fed_avg`, the process of `tff_weighted_fed_avg`, run by fedpipe: own runtime, datasets built in the worker."""

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import tensorflow_federated as tff

from benchmarks.lib.systems.fedpipe import MANY_ROUNDS, JobClients, LineSink
from benchmarks.lib.systems.line import Line, read_job
from benchmarks.lib.systems.with_tensorflow import evaluator_of, model_of
from fedpipe.algorithms.fedavg_reference import make_model_fn
from fedpipe.algorithms.own_process import OwnProcess
from fedpipe.algorithms.recipe import Run
from fedpipe.algorithms.tff_process import ProcessAlgorithm
from fedpipe.config import Config
from fedpipe.data.resident import ResidentCache
from fedpipe.engine.loop import run_rounds
from fedpipe.engine.runtime import Runtime
from fedpipe.engine.user_algorithm import UserAlgorithm
from fedpipe.types import CohortPlan

NAME = "benchmarks.learning_process:build"


def main() -> None:
    """Run rounds as asked."""
    job, line = read_job(), Line()
    clients = JobClients(job)
    config = Config.model_validate(
        {
            "data": {"clients": len(clients.ids)},
            "cohort": {"size": len(clients.ids)},
            "model": {"name": job.model},
            "algorithm": {"name": NAME},
            "client": {"batch_size": job.batch_size},
        }
    )
    manifest = SimpleNamespace(
        feature_shape=job.x.shape[2:],
        feature_dtype=job.x.dtype.name,
        variable_length=False,
        target_width=None,
        num_classes=10,
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        Runtime(config.runtime, Path(folder) / "worker.log") as runtime,
    ):
        runtime.start()
        cache = ResidentCache(
            Path(folder) / "clients", clients, ["benchmark"], config.runtime.cache_max_bytes
        )
        population: Any = SimpleNamespace(manifest=manifest)
        run = Run(config, model_of(job), population, Path(folder))

        def build() -> ProcessAlgorithm:
            process = tff.learning.algorithms.build_weighted_fed_avg(
                make_model_fn(run.model),
                client_optimizer_fn=tff.learning.optimizers.build_sgdm(job.learning_rate),
                server_optimizer_fn=tff.learning.optimizers.build_sgdm(1.0),
            )
            algorithm = ProcessAlgorithm(run, OwnProcess(process), cache)
            algorithm.start_from(job.weights)
            return algorithm

        algorithm = UserAlgorithm.build(NAME, runtime, build)
        plan = CohortPlan("fixed", config.seed, (clients.ids,) * MANY_ROUNDS)
        sinks = [LineSink(line, evaluator_of(job))]
        run_rounds(algorithm, runtime, plan, lambda _: {}, MANY_ROUNDS, sinks)


if __name__ == "__main__":
    main()
