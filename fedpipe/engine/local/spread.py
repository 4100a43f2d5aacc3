"""Spreads a round's clients over several workers: which computations can be spread, in what form,
and which worker gets which clients.

TFF's own partition (`tff.framework.MergeableCompExecutionContext`) is not used: it gives every
worker the same clients, and so a wrong result, whenever the argument's last element is not placed
at the clients.
"""

import functools
import itertools
from typing import Any

import tensorflow_federated as tff

from fedpipe.engine.local.wire import count_clients
from fedpipe.errors import ConfigError

COMPILED_COMPUTATIONS = 64


@functools.lru_cache(COMPILED_COMPUTATIONS)
def compile_mergeable(computation: Any) -> Any:
    """Return the computation as partial aggregation, merge and remainder. Raises ConfigError where
    it has no such form.
    """
    try:
        return tff.backends.native.compile_to_mergeable_comp_form(computation)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            "runtime.workers, runtime.remote: expected an algorithm whose aggregations do not "
            "depend on one another, this one cannot be spread over workers "
            f"({str(error).splitlines()[0]}). Set runtime.workers to 1 and runtime.remote to []."
        ) from error


def at_clients(value_type: Any) -> bool:
    """Return whether a TFF type is placed at the clients, with a value for each of them."""
    return (
        isinstance(value_type, tff.FederatedType)
        and value_type.placement is tff.CLIENTS
        and not value_type.all_equal
    )


def takes_clients_gives_server(signature: Any) -> bool:
    """Return whether a computation's clients can be shared out: their values come in, and none goes
    out.
    """
    if signature.parameter is None or tff.types.contains(
        signature.result, lambda inner: getattr(inner, "placement", None) is tff.CLIENTS
    ):
        return False
    return bool(tff.types.contains(signature.parameter, at_clients))


def share_out(value: Any, value_type: Any, shares: int | None) -> list[Any]:
    """Return the argument `value` once per share, each with its part of the clients, in order; all
    else is in every share.

    `shares`: how many; None is one for each client.

    The parts differ by one client at most; there are fewer than `shares` if there are fewer
    clients, and one if there is none.
    """
    clients = count_clients(value, value_type)
    shares = max(1, clients if shares is None else min(shares, clients))
    bounds = [clients * index // shares for index in range(shares + 1)]
    return [_take(value, value_type, slice(*pair)) for pair in itertools.pairwise(bounds)]


def without_clients(value: Any, value_type: Any) -> Any:
    """Return the argument `value` with no client."""
    return _take(value, value_type, slice(0, 0))


def elements_of(value: Any, value_type: Any) -> list[tuple[str | None, Any, Any]]:
    """Return name, value and type of each element of a struct."""
    names_and_types = tff.structure.iter_elements(value_type)
    return [
        (name, inner, kind)
        for (name, kind), inner in zip(
            names_and_types, tff.structure.from_container(value), strict=True
        )
    ]


def _take(value: Any, value_type: Any, clients: slice) -> Any:
    if at_clients(value_type):
        return value[clients]
    if isinstance(value_type, tff.StructType):
        return tff.structure.Struct(
            [
                (name, _take(inner, kind, clients))
                for name, inner, kind in elements_of(value, value_type)
            ]
        )
    return value
