"""Settings as a run uses them: what is unset has the value that the algorithm, the optimizer or the
schedule gives it.

These are the defaults of settings that default to null; the code that computes with them takes them
from here.
"""

from typing import Any, TypeVar

from fedpipe.config.algorithm_table import ALGORITHMS
from fedpipe.config.schema import Config, expand_options, flatten

PROXIMAL_MU = 0.01
MOMENTUM = 0.9
DECAY_RATE = 0.99
DECAY_ROUNDS = 1
FINAL_FRACTION = 0.0
FIRST_CLIP = 0.1
TARGET_QUANTILE = 0.5
LATENCY_SIGMA = 0.5
AVAILABLE_FRACTION = 0.5

ADAPTIVE_SERVER = {"beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-3}
"""Constants of `fedadam` and `fedyogi`; `fedadagrad` has the last one. Source: Reddi et al. 2021,
section 5.
"""
_TFF = {
    "adam": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7},
    "yogi": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-3},
    "adagrad": {"epsilon": 1e-7**0.5},
    "momentum": {"momentum": MOMENTUM},
}
"""What TFF's server optimizers have where nothing is set. Its Adagrad adds 1e-7 inside the root, of
which `server.epsilon` is outside.
"""


Setting = TypeVar("Setting")


def or_default(value: Setting | None, default: Setting) -> Setting:
    """Return a setting; the default where it is unset."""
    if value is None:
        return default
    return value


def used_settings(config: Config) -> dict[str, Any]:
    """Return all settings by dotted key; one that is unset and that the run reads has the value
    that the run uses. Settings of the user's own are keys like all others.

    A setting that stays None is one that the run does not read, or whose absence is its meaning,
    such as a limit that is not set.

    >>> used = used_settings(Config.model_validate({"algorithm": {"name": "fedprox"}}))
    >>> used["algorithm.mu"], used["client.momentum"]
    (0.01, None)
    """
    used = flatten(config)
    for key, value in _defaults(config).items():
        if used[key] is None:
            used[key] = value
    used = expand_options(used)
    brought = _brought_optimizer(config)
    if brought is None:
        return used
    return used | {"server.optimizer": brought}


def _brought_optimizer(config: Config) -> str | None:
    algorithm = ALGORITHMS.get(config.algorithm.name)
    if algorithm is None:
        return None
    return algorithm.server_optimizer


def _defaults(config: Config) -> dict[str, Any]:
    """Return the values of unset settings that the run reads."""
    algorithm = ALGORITHMS.get(config.algorithm.name)
    values: dict[str, Any] = {}
    if config.algorithm.name == "fedprox":
        values["algorithm.mu"] = PROXIMAL_MU
    for section, side in (("client", config.client), ("server", config.server)):
        if side.schedule == "exponential":
            values |= {f"{section}.decay_rate": DECAY_RATE, f"{section}.decay_rounds": DECAY_ROUNDS}
        elif side.schedule == "cosine":
            values[f"{section}.final_fraction"] = FINAL_FRACTION
    if config.client.optimizer == "momentum":
        values["client.momentum"] = MOMENTUM
    optimizer = _brought_optimizer(config) or config.server.optimizer
    constants = dict(_TFF.get(optimizer, {}))
    if config.algorithm.name in ("fedadam", "fedyogi", "fedadagrad"):
        constants = {name: ADAPTIVE_SERVER[name] for name in constants}
    values |= {f"server.{name}": value for name, value in constants.items()}
    if config.privacy.mechanism == "adaptive":
        values |= {"privacy.clip_norm": FIRST_CLIP, "privacy.target_quantile": TARGET_QUANTILE}
    if config.cohort.latency_median_seconds is not None:
        values["cohort.latency_sigma"] = LATENCY_SIGMA
    if config.cohort.day_rounds is not None:
        values["cohort.available_fraction"] = AVAILABLE_FRACTION
    if algorithm is not None:
        for key in filter(algorithm.ignored, list(values)):
            del values[key]
    return values
