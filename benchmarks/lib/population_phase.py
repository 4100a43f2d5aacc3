"""One phase of `benchmarks.population` in a process of its own, so that its memory is its own: prints one line of JSON.

`python -m benchmarks.lib.population_phase {prepare|open|train} CLIENTS FOLDER`.
"""

import json
import resource
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.lib.common import ROOT
from benchmarks.lib.processes import tree_memory_mb
from fedpipe.config import Config

ROUNDS, WARM_UP, COHORT = 60, 10, 50


def settings(clients: int) -> Config:
    """Return the settings of a population."""
    source = "benchmarks.lib.population_source:shifted_digits"
    return Config.model_validate(
        {
            "data": {"source": source, "clients": clients},
            "cohort": {"size": COHORT, "strategy": "uniform"},
        }
    )


def prepare(clients: int, folder: Path) -> dict[str, float]:
    """Prepare the shards; the memory is what is added to an interpreter with all imports done."""
    import pyarrow.parquet  # noqa: F401 - counted as an import, not as work

    from fedpipe.data.prepare import prepare_shards

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, cpu = time.perf_counter(), time.process_time()
    prepare_shards(settings(clients).data, folder, ROOT)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    taken = {"prepare_seconds": seconds, "prepare_cpu_seconds": cpu_seconds}
    return {
        **taken,
        "prepare_peak_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        * 1024
        / 1e6,
    }


def opened(clients: int, folder: Path) -> dict[str, float]:  # noqa: ARG001 - as the others
    """Open the population as a run does after its shards were verified."""
    import pyarrow.parquet  # noqa: F401 - counted as an import, not as work

    from fedpipe.data.population import Population

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    population = Population.open(folder, verify=False)
    population.participating()
    seconds = time.perf_counter() - start
    return {
        "open_seconds": seconds,
        "open_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 1e6,
    }


def train(clients: int, folder: Path) -> dict[str, float]:
    """Run rounds of uniform cohorts as the flow does; memory is of this process and its worker, sampled after each round."""
    import os

    from fedpipe.data.cohort_plan import plan_cohorts
    from fedpipe.data.population import Population
    from fedpipe.data.prefetch import prefetched
    from fedpipe.engine.loop import run_rounds
    from fedpipe.engine.runtime import Runtime
    from fedpipe.models import build_model
    from fedpipe.types import RoundReport

    class Memory:
        peak = 0.0

        def round_done(self, report: RoundReport) -> None:
            if report.round_num % 5 == 0:
                self.peak = max(self.peak, tree_memory_mb(os.getpid()))

    config, memory = settings(clients), Memory()
    population = Population.open(folder, verify=False)
    plan = plan_cohorts(population.participating(), config.cohort, ROUNDS + WARM_UP, config.seed)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        here = Path(name)
        (here / "plan.json").write_text(plan.to_json())
        most = config.runtime.cache_max_bytes
        stack.enter_context(
            prefetched(folder, plan, here / "plan.json", here / "clients", most, here / "bring.log")
        )
        runtime = stack.enter_context(Runtime(config.runtime, here / "worker.log"))
        runtime.start()
        from fedpipe.algorithms.catalog import (
            build_algorithm,
        )  # TensorFlow is imported after the worker has started, as in a run

        model = build_model(
            config, tuple(population.manifest.feature_shape), population.manifest.num_classes
        )
        algorithm = build_algorithm(config, model, population, here / "clients")
        result = run_rounds(algorithm, runtime, plan, lambda _: {}, ROUNDS, [memory])
    return {
        "round_seconds": statistics.median(result.round_seconds[WARM_UP:]),
        "train_peak_mb": memory.peak,
    }


def main() -> None:
    """Run the phase."""
    phases: dict[str, Any] = {"prepare": prepare, "open": opened, "train": train}
    print(json.dumps(phases[sys.argv[1]](int(sys.argv[2]), Path(sys.argv[3]))))


if __name__ == "__main__":
    main()
