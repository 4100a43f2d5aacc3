"""An algorithm of the user's own: all of its code runs in the runtime, and its errors are told in
one line.

TFF computations that it calls in `build`, `initialize`, `expect`, `next`, `weights` or `info` so
reach the run's own worker.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, Self

from fedpipe.algorithms.base import RoundResult
from fedpipe.engine.local.call_deadline import WorkerFaultError
from fedpipe.errors import ConfigError, FedpipeError, RoundError
from fedpipe.system.user_code import describe_error
from fedpipe.types import Weights


class Caller(Protocol):
    """The method of a runtime that is called here."""

    def call(self, fn: Callable[..., Any], *args: Any, label: str) -> Any:
        """Return fn(*args), computed on the TFF worker; `label` names the work in errors."""


class UserAlgorithm:
    """An `Algorithm` that passes everything on to the user's, in the runtime."""

    def __init__(self, name: str, runtime: Caller) -> None:
        """Use `build`."""
        self._name = name
        self._runtime = runtime
        self._inner: Any = None

    @classmethod
    def build(cls, name: str, runtime: Caller, build: Callable[..., Any], *args: Any) -> Self:
        """Return the algorithm that `build(*args)` returns.

        Args:
            name: `algorithm.name`.
            runtime: where its code runs.
            build: builds it; errors of the user's code in it are `ConfigError`.
            args: its arguments.
        """
        algorithm = cls(name, runtime)
        algorithm._inner = algorithm._call(build, args, "build", ConfigError)
        return algorithm

    @property
    def takes_empty_cohorts(self) -> bool:
        """Return whether it is asked for rounds in which nobody reports."""
        return bool(getattr(self._inner, "takes_empty_cohorts", False))

    @property
    def info(self) -> Mapping[str, str]:
        """Return what the run should record of how the algorithm is computed."""
        info = self._call(lambda: self._inner.info, (), "info")
        if not isinstance(info, Mapping):
            raise ConfigError(
                f"algorithm.name={self._name}: expected info to be a mapping of texts, found "
                f"{type(info).__name__}."
            )
        return info

    def use_groups(self, groups: int) -> None:
        """Compute clients in so many groups, if it is built of a recipe; see `RecipeAlgorithm`."""
        if hasattr(self._inner, "use_groups"):
            self._inner.use_groups(groups)

    def initialize(self) -> Any:
        """Return the server state of round 0."""
        return self._call(self._inner.initialize, (), "initialize")

    def expect(self, cohort: tuple[str, ...]) -> None:
        """Pass the hint on."""
        self._call(self._inner.expect, (cohort,), "expect")

    def next(self, state: Any, round_num: int, cohort: tuple[str, ...]) -> RoundResult:
        """Return the state after a round."""
        result = self._call(
            self._inner.next, (state, round_num, cohort), f"next in round {round_num}"
        )
        if not isinstance(result, RoundResult):
            raise RoundError(
                f"algorithm.name={self._name}: expected next to return a RoundResult of fedpipe, "
                f"found {type(result).__name__}."
            )
        return result

    def weights(self, state: Any) -> Weights:
        """Return the server's weights in `state`."""
        weights = self._call(self._inner.weights, (state,), "weights")
        if not isinstance(weights, Mapping):
            raise RoundError(
                f"algorithm.name={self._name}: expected weights to return a mapping of tensors by "
                f"name, found {type(weights).__name__}."
            )
        return weights

    def _call(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        doing: str,
        error: type[FedpipeError] = RoundError,
    ) -> Any:
        try:
            return self._runtime.call(fn, *args, label=f"algorithm.name={self._name}: {doing}")
        except (FedpipeError, WorkerFaultError):  # a fault of the worker is the runtime's to repeat
            raise
        except Exception as err:
            raise error(
                f"algorithm.name={self._name}: {describe_error(err)} (while calling {doing}; "
                "--debug shows all)"
            ) from err
