"""The server state as arrays by path, which a checkpoint holds, and back."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import numpy.typing as npt

from fedpipe.errors import CheckpointError
from fedpipe.types import PerClient

Leaves = Mapping[str, npt.NDArray[Any]]


def flatten(state: Any, path: str = "") -> dict[str, npt.NDArray[Any]]:
    """Return the leaves of a state of mappings, sequences and arrays, by path.

    >>> flatten({"weights": [np.float32(1)], "aggregator": ()})
    {'weights/0': array(1., dtype=float32)}
    """
    if isinstance(state, PerClient):
        items: Any = ((quote(client_id, safe=""), inner) for client_id, inner in state.items())
    elif isinstance(state, Mapping):
        items = state.items()
    elif isinstance(state, list | tuple):
        items = enumerate(state)
    elif (names := _field_names(state)) is not None:
        items = ((name, getattr(state, name)) for name in names)
    else:
        return {path: np.array(state)}
    leaves: dict[str, npt.NDArray[Any]] = {}
    for name, inner in items:
        leaves |= flatten(inner, _below(path, name))
    return leaves


def restore(template: Any, leaves: Leaves, path: str = "") -> Any:
    """Return the state with the containers of `template` and the leaves that `flatten` gave.

    Raises:
        CheckpointError: a leaf is missing, or has another dtype or shape than the template's.
    """
    if isinstance(template, PerClient):
        names = sorted(
            {name[len(path) + 1 :].split("/")[0] for name in leaves if name.startswith(f"{path}/")}
        )
        return PerClient(
            template.first,
            {unquote(name): restore(template.first, leaves, f"{path}/{name}") for name in names},
        )
    if isinstance(template, Mapping):
        return type(template)(
            (name, restore(inner, leaves, _below(path, name))) for name, inner in template.items()
        )  # type: ignore[call-arg]
    if isinstance(template, list | tuple):
        items = [
            restore(inner, leaves, _below(path, number)) for number, inner in enumerate(template)
        ]
        # a named tuple takes them one by one
        if hasattr(template, "_fields"):
            return type(template)(*items)
        return type(template)(items)
    if (fields := _field_names(template)) is not None:
        return type(template)(
            **{
                name: restore(getattr(template, name), leaves, _below(path, name))
                for name in fields
            }
        )
    return _checked_leaf(np.asarray(template), leaves.get(path), path)


def _field_names(value: Any) -> list[str] | None:
    """Return the names of the fields of an instance of a dataclass or an attrs class."""
    of_dataclass = getattr(value, "__dataclass_fields__", None)
    if of_dataclass is not None:
        return list(of_dataclass)
    of_attrs = getattr(value, "__attrs_attrs__", None)
    if of_attrs is None:
        return None
    return [field.name for field in of_attrs]


def _checked_leaf(
    template: npt.NDArray[Any], leaf: npt.NDArray[Any] | None, path: str
) -> npt.NDArray[Any]:
    """Return the leaf. Raises CheckpointError where it is missing or does not fit the template."""
    expected = f"checkpoint: expected {template.dtype}{list(template.shape)} at {path!r}"
    if leaf is None:
        raise CheckpointError(f"{expected}, found nothing. Start a new run.")
    # What an aggregator keeps, such as the levels of a tree of noise, may grow from round to round;
    # a TFF process says in its type which of its tensors may.
    fixed = slice(1 if path.startswith("aggregator/") else 0, None)
    same_shape = leaf.ndim == template.ndim and leaf.shape[fixed] == template.shape[fixed]
    same_shape = same_shape or path.startswith("varying/")
    if leaf.dtype != template.dtype or not same_shape:
        raise CheckpointError(f"{expected}, found {leaf.dtype}{list(leaf.shape)}. Start a new run.")
    return leaf


def _below(path: str, name: object) -> str:
    return f"{path}/{name}" if path else str(name)
