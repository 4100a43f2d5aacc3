"""The named algorithms. Each is imported when it is asked for."""

from pathlib import Path
from typing import Any

from fedpipe.algorithms.base import Algorithm
from fedpipe.config import Config
from fedpipe.models import ModelSpec


def build_algorithm(config: Config, model: ModelSpec, population: Any, cache_dir: Path) -> Algorithm:
    """Return the algorithm `config.algorithm.name`, bound to its model and population.

    Args:
        config: the run's settings.
        model: what is trained.
        population: the clients and their training examples; each algorithm's module says what it asks of it.
        cache_dir: folder for resident client files.
    """
    if config.algorithm.name == "fedavg_reference":
        from fedpipe.algorithms.fedavg_reference import build_reference

        return build_reference(config, model, population, cache_dir)
    if config.runtime.debug:
        from fedpipe.algorithms.fedavg_debug import build_fedavg_debug

        return build_fedavg_debug(config, model, population, cache_dir)
    from fedpipe.algorithms.fedavg import build_fedavg

    return build_fedavg(config, model, population, cache_dir)
