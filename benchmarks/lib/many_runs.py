"""Runs of the default settings in one process, tracked or untracked, for `benchmarks.startup`.

`python many_runs.py tracked|untracked RUNS RESULT.json`, in a project whose shards are up to date. A tracked run is `fedpipe run`'s
own: DVC's check of the data, a Prefect flow run, an MLflow run with all its artifacts. An untracked one has the same worker, rounds and
evaluations, and records nothing.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedpipe.project.paths import Project, find_project
from fedpipe.system.deferred_imports import defer_imports


def tracked(project: Project) -> str:
    """Run once; return the weights' SHA-256."""
    from fedpipe.launch.train import launch

    return str(launch(project, project.params)["weights_sha256"])


def untracked(project: Project) -> str:
    """Train once on the project's shards, with an evaluation after each round and at both ends; return the weights' SHA-256."""
    from fedpipe.algorithms.catalog import build_algorithm
    from fedpipe.config import load_config
    from fedpipe.data.population import Population
    from fedpipe.engine.loop import run_rounds
    from fedpipe.models import build_model
    from fedpipe.models.evaluate import Evaluator
    from fedpipe.pipeline.runtime import started_runtime
    from fedpipe.pipeline.sample_clients import draw_plan
    from fedpipe.types import Weights, weights_sha256

    config = load_config(project.params)
    with (
        tempfile.TemporaryDirectory() as folder,
        started_runtime(config.runtime, Path(folder)) as runtime,
    ):
        population = Population.open(project.shards)
        manifest = population.manifest
        model = build_model(
            config, tuple(manifest.feature_shape), manifest.num_classes, project.root
        )
        algorithm: Any = build_algorithm(
            config, model, population, project.client_cache, project.root
        )
        evaluator = Evaluator(model, population.central_test())

        def evaluate(weights: Weights) -> dict[str, float]:
            return evaluator.evaluate(weights).metrics("test")

        plan = draw_plan(config, population, config.rounds)
        result = run_rounds(algorithm, runtime, plan, evaluate, config.eval.every, [])
        evaluate(result.final.weights)
        return weights_sha256(result.final.weights)


def main() -> None:
    """Run as often as asked, and write each run's wall seconds, CPU seconds of this process, and hash."""
    # As `fedpipe` sets them.
    os.environ.setdefault("WRAPT_DISABLE_EXTENSIONS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    defer_imports()
    kind, runs, result = sys.argv[1:]
    run: Callable[[Project], str] = {"tracked": tracked, "untracked": untracked}[kind]
    project = find_project(Path.cwd())
    seconds, cpu_seconds, hashes = [], [], []
    for _ in range(int(runs)):
        start, cpu_start = time.perf_counter(), time.process_time()
        hashes.append(run(project))
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
    Path(result).write_text(
        json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "weights": hashes})
    )


if __name__ == "__main__":
    main()
