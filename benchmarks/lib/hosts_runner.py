"""The run's side of `benchmarks.hosts`: rounds of one algorithm over machines, one for each line that it reads.

`python -m benchmarks.lib.hosts_runner FOLDER MODEL HOST:PORT...`: FOLDER is a project with shards and certificates. It answers a line
`{"rounds": n}` with the seconds, weights and losses of these rounds, and anything else by ending.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from fedpipe.algorithms.catalog import build_algorithm
from fedpipe.cluster.machines import machines_of
from fedpipe.config import Config
from fedpipe.data.digest import dvc_md5
from fedpipe.data.population import Population
from fedpipe.engine.runtime import Runtime
from fedpipe.errors import FedpipeError
from fedpipe.models import build_model
from fedpipe.project.paths import Project
from fedpipe.types import weights_sha256

GROUPS = 6


def settings(remote: list[str], model: str, clients: int) -> Config:
    """Return the settings of the runs that are compared."""
    return Config.model_validate(
        {
            "cohort": {"size": clients},
            "data": {"clients": clients, "source": "mnist5k", "partition": "iid"},
            "model": {"name": model},
            "client": {"learning_rate": 0.05, "max_steps": 4},
            "runtime": {"groups": GROUPS, "remote": remote, "round_timeout_seconds": 120.0},
        }
    )


def main(folder: Path, model: str, remote: list[str]) -> None:
    """Answer until stdin ends."""
    project = Project(folder)
    population = Population.open(project.shards)
    cohort = tuple(population.participating())
    config = settings(remote, model, len(cohort))
    built = build_model(
        config, tuple(population.manifest.feature_shape), population.manifest.num_classes
    )
    algorithm: Any = build_algorithm(config, built, population, project.client_cache)
    machines = machines_of(
        config.runtime, project, f"hosts, {len(remote)} machines", dvc_md5(project.shards)
    )
    with Runtime(config.runtime, folder / "worker.log") as runtime:
        if machines is not None:
            runtime.attach(machines)
        state, number = runtime.call(algorithm.initialize), 0
        for line in sys.stdin:
            answer: dict[str, Any] = {"seconds": [], "lost": []}
            try:
                for _ in range(json.loads(line)["rounds"]):
                    number += 1
                    start = time.perf_counter()
                    state = runtime.call(
                        algorithm.next, state, number, cohort, label=f"round {number}"
                    ).state
                    answer["seconds"].append(time.perf_counter() - start)
                    answer["lost"] += [f"round {number}: {loss}" for loss in runtime.take_losses()]
            except FedpipeError as err:
                answer["error"] = str(err)
            weights = algorithm.weights(state)
            answer["weights"] = weights_sha256(weights)
            # Of the largest tensor's middle, as they travel: what a listener looks for.
            largest = max(weights.values(), key=lambda tensor: tensor.size).ravel()
            answer["sample"] = (
                np.ascontiguousarray(largest[largest.size // 2 : largest.size // 2 + 8])
                .tobytes()
                .hex()
            )
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
