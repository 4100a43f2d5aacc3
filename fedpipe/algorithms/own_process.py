"""A TFF process that a function of the user's own returns: what is taken for one, and the settings
that it cannot have.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import tensorflow_federated as tff

from fedpipe.config import Config
from fedpipe.errors import ConfigError


@dataclass(frozen=True)
class OwnProcess:
    """What the user's function returned.

    Attributes:
        process: a `tff.templates.IterativeProcess`, such as a
            `tff.learning.templates.LearningProcess`.
        weights_of_state: (its state) -> the weights of the run's model: a TFF computation or a
            Python function; None where a rule of docs/algorithms.md finds them.
    """

    process: Any
    weights_of_state: Callable[[Any], Any] | None = None

    @classmethod
    def of(cls, built: Any) -> Self | None:
        """Return the process in `built`, which is one or a pair `(process, weights_of_state)`; None
        if it is something else.
        """
        pair = built if isinstance(built, tuple) and len(built) == 2 else (built, None)
        process, weights_of_state = pair
        if not isinstance(process, tff.templates.IterativeProcess):
            return None
        return cls(process, weights_of_state)

    @property
    def has_model_weights(self) -> bool:
        """Return whether it says itself how weights are read from its state and put there."""
        return isinstance(self.process, tff.learning.templates.LearningProcess)

    def check_settings(self, config: Config) -> None:
        """Raise ConfigError for settings that a process cannot have."""
        name = f"algorithm.name={config.algorithm.name}"
        kind = f"{name} returns a {type(self.process).__name__}"
        if config.privacy.on:
            raise ConfigError(
                f"privacy.mechanism={config.privacy.mechanism} is set but {kind}, which aggregates "
                "by itself: fedpipe cannot add the noise. Set privacy.mechanism=none, or return a "
                "Recipe."
            )
        if config.runtime.remote:
            raise ConfigError(
                f"runtime.remote is set but {kind}: only the partial sums of a Recipe travel "
                "between machines. Set runtime.remote: []."
            )
        if config.runtime.debug:
            raise ConfigError(
                f"runtime.debug=True is set but {kind}, which only a TFF worker can compute. "
                "Remove it."
            )
        if config.client.augment:
            raise ConfigError(
                f"client.augment is set but {kind}, whose client work is its own. Augment in the "
                "process's model, or remove it."
            )
