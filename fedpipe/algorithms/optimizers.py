"""Named optimizers, for clients and server alike, from `tff.learning.optimizers`."""

from typing import Any

import tensorflow_federated as tff

from fedpipe.config.defaults import MOMENTUM, or_default
from fedpipe.config.schema import ServerConfig


def build_optimizer(
    name: str, learning_rate: float, momentum: float | None = None, **constants: float | None
) -> Any:
    """Return the `tff.learning.optimizers.Optimizer` called `name`.

    Args:
        name: sgd, momentum, adam, adagrad or yogi. All but the first two keep TFF's own constants
            (adam: 0.9, 0.999, 1e-7; adagrad: 0.1, 1e-7; yogi: 0.9, 0.999, 1e-3, 1e-6), which are
            those of Reddi et al. 2021 (arXiv 2003.00295) or near.
        learning_rate: step size, above 0.
        momentum: velocity kept from step to step, v = momentum v + g, in [0, 1); `None` is 0.9.
            `momentum` alone reads it.
        constants: by the names that TFF gives them, such as `beta_1`, `epsilon`,
            `initial_preconditioner_value`; `None` is TFF's.
    """
    optimizers = tff.learning.optimizers
    if name == "momentum":
        return optimizers.build_sgdm(learning_rate, or_default(momentum, MOMENTUM))
    builders = {
        "sgd": optimizers.build_sgdm,
        "adam": optimizers.build_adam,
        "adagrad": optimizers.build_adagrad,
        "yogi": optimizers.build_yogi,
    }
    return builders[name](
        learning_rate, **{key: value for key, value in constants.items() if value is not None}
    )


def build_server_optimizer(config: ServerConfig) -> Any:
    """Return the optimizer that `server.optimizer` names, with the constants that are set."""
    epsilon = config.epsilon
    if epsilon is not None and config.optimizer == "adagrad":
        epsilon = (
            epsilon**2
        )  # TFF's Adagrad adds it inside the root; `server.epsilon` is in units of the root
    constants = {"beta_1": config.beta_1, "beta_2": config.beta_2, "epsilon": epsilon}
    return build_optimizer(config.optimizer, config.learning_rate, config.momentum, **constants)
