"""Builds the algorithm that `algorithm.name` names: one of `fedpipe.config.algorithm_table`, or a
user's own. Its module is imported when it is asked for.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedpipe.algorithms.base import Algorithm
from fedpipe.config import Config
from fedpipe.config.algorithm_table import ALGORITHMS
from fedpipe.errors import ConfigError
from fedpipe.models import ModelSpec
from fedpipe.system.user_code import import_own, own_code
from fedpipe.system.user_options import OptionsReader, read_options
from fedpipe.tasks import Task

if TYPE_CHECKING:
    from fedpipe.algorithms.client_refs import ClientFiles
    from fedpipe.algorithms.recipe import Recipe, Run


def build_algorithm(
    config: Config,
    model: ModelSpec,
    population: Any,
    cache_dir: Path,
    project: Path | None = None,
    noise_key: bytes | None = None,
    task: Task | None = None,
) -> Algorithm:
    """Return the algorithm `config.algorithm.name`, bound to its model and population.

    Args:
        config: the run's settings.
        model: what is trained.
        population: the clients and their training examples; each algorithm's module says what it
            asks of it.
        cache_dir: folder for resident client files.
        project: folder that is put on the path for an algorithm of the user's own.
        noise_key: what a private run draws its noise from (`Run.noise_key`).
        task: what is learned; None: to tell classes apart.

    Raises:
        ConfigError: the user's own cannot be imported, raises, or returns something else; or a
            setting does not go with the algorithm.
    """
    from fedpipe.algorithms.recipe import Run

    run = Run(config, model, population, cache_dir, noise_key, task)
    named = ALGORITHMS.get(config.algorithm.name)
    if named:
        return _finished(load(named.where)(run), run)
    with own_code(f"algorithm.name={config.algorithm.name}", ConfigError, "building the algorithm"):
        return _finished(_build_own(run, project), run)


def _finished(built: Any, run: "Run") -> Algorithm:
    """Return the algorithm that a recipe or a TFF process describes, or the whole algorithm
    itself.
    """
    from fedpipe.algorithms.own_process import OwnProcess
    from fedpipe.algorithms.recipe import Recipe
    from fedpipe.data.resident import ResidentCache

    config = run.config
    cache = ResidentCache.of(run.population, run.cache_dir, config.runtime.cache_max_bytes)
    if isinstance(built, OwnProcess):
        from fedpipe.algorithms.tff_process import ProcessAlgorithm

        return ProcessAlgorithm(run, built, cache)
    if config.privacy.on and not (isinstance(built, Recipe) and built.aggregation.private):
        raise ConfigError(
            f"algorithm.name={config.algorithm.name}: expected a Recipe with the aggregation of "
            f"`averaging(run)`, which is what privacy.mechanism={config.privacy.mechanism} makes "
            "private, found another. Keep that part, or set privacy.mechanism=none."
        )
    if not isinstance(built, Recipe):
        if config.runtime.remote:
            raise ConfigError(
                f"algorithm.name={config.algorithm.name}: expected a Recipe, whose clients can be "
                "spread over runtime.remote, found a whole algorithm. Set runtime.remote: []."
            )
        return built  # type: ignore[no-any-return] # a whole algorithm
    if config.runtime.debug:
        if built.clients is not None:
            raise ConfigError(
                f"runtime.debug=True is set but algorithm.name={config.algorithm.name} cannot run "
                "in this process. Remove it."
            )
        from fedpipe.algorithms.debug_algorithm import DebugAlgorithm

        return DebugAlgorithm(config, built.work, cache, built.server_optimizer)
    return run_recipe(config, built, cache)


def run_recipe(config: Config, recipe: "Recipe", files: "ClientFiles") -> Algorithm:
    """Return the algorithm that runs a recipe on TFF workers.

    Args:
        config: the run's settings.
        recipe: the algorithm's parts.
        files: the clients' examples.
    """
    from fedpipe.algorithms.recipe_algorithm import RecipeAlgorithm

    algorithm: Algorithm = RecipeAlgorithm(config, recipe, files)
    return recipe.wrap(algorithm) if recipe.wrap else algorithm


def load(where: str) -> Any:
    """Return the function that `module:function` names."""
    module, _, name = where.partition(":")
    return getattr(importlib.import_module(module), name)


def _build_own(run: Any, project: Path | None) -> Any:
    """Return what the user's function returns: a `Recipe`, an `OwnProcess` or an `Algorithm`. The
    contract: docs/algorithms.md.
    """
    from fedpipe.algorithms.own_process import OwnProcess
    from fedpipe.algorithms.recipe import Recipe
    from fedpipe.models.keras_model import seeded_building

    name = run.config.algorithm.name
    build = import_own(name, project, "algorithm.name", ConfigError)
    reader = OptionsReader(f"algorithm.name={name}", build, given=1)
    settings = run.config.algorithm.options
    (options,) = read_options("algorithm.options", settings, [reader], ConfigError)
    with seeded_building(run.config.seed):
        built = build(run, **options)
    if isinstance(built, Recipe):
        return built
    process = OwnProcess.of(built)
    if process is not None:
        process.check_settings(run.config)
        return process
    members = ("info", "initialize", "expect", "next", "weights")
    missing = [name for name in members if not hasattr(built, name)]
    if missing:
        raise ConfigError(
            f"algorithm.name={name}: expected a fedpipe.algorithms.recipe.Recipe, a TFF process or "
            f"an Algorithm, found {type(built).__name__} without {', '.join(missing)}. See "
            "docs/algorithms.md."
        )
    if run.config.runtime.debug:
        raise ConfigError(
            f"runtime.debug=True is set but algorithm.name={name} is no Recipe and cannot run in "
            "this process. Remove it."
        )
    return built
