"""Finds what a TFF computation draws that no seed of the run determines.

Ops such as `RandomUniform` keep their state in the worker: a repeated or resumed run draws other
numbers. Ops whose name begins with `Stateless` draw from a seed that they are given.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

_DRAWS = (
    "Random",
    "TruncatedNormal",
    "ParameterizedTruncatedNormal",
    "Multinomial",
    "Timestamp",
)
_NO_DRAWS = ("RandomDataset", "RandomSeedGenerator")
_SHUFFLES = ("ShuffleDataset", "ShuffleAndRepeatDataset")


def stateful_draws(computation: Any) -> tuple[str, ...]:
    """Return the names of the ops of a TFF computation whose draws depend on no seed that it is
    given, sorted; of shuffles of a `tf.data.Dataset` those without a seed.
    """
    message = tff.framework.serialize_computation(computation)
    ops = set()
    for graph in _graphs(message):
        ops |= set(_draws_of(graph.node))
        for function in graph.library.function:
            ops |= set(_draws_of(function.node_def))
    return tuple(sorted(ops))


def _graphs(message: Any) -> Iterator[tf.compat.v1.GraphDef]:
    """Yield the TensorFlow graphs anywhere in a message."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.name == "graph_def":
            graph = tf.compat.v1.GraphDef()
            value.Unpack(graph)
            yield graph
            continue
        messages = [value]
        if field.label == field.LABEL_REPEATED:
            messages = list(value)
        for inner in messages:
            if hasattr(inner, "ListFields"):
                yield from _graphs(inner)


def _draws_of(nodes: Iterable[Any]) -> Iterator[str]:
    by_name = {node.name: node for node in nodes}
    for node in by_name.values():
        draws = node.op.startswith(_DRAWS) and not node.op.startswith(_NO_DRAWS)
        shuffles = node.op.startswith(_SHUFFLES) and not _has_seed(node, by_name)
        if draws or shuffles:
            yield node.op


def _has_seed(node: Any, by_name: dict[str, Any]) -> bool:
    """Return whether a shuffle is given a seed that is not zero; one that is computed is one."""
    for name in node.input:
        source = by_name.get(name.partition(":")[0].lstrip("^"))
        if source is None or "seed" not in source.name.lower():
            continue
        if source.op != "Const" or tf.make_ndarray(source.attr["value"].tensor).any():
            return True
    return False
