"""Stacks all clients' values at the server, in the order of the clients, in n log n rows of memory
for n clients.

TFF joins values by a computation for each client, `accumulate(what was joined so far, value)`, and
its worker keeps every result until the last one is there. Were "so far" one tensor that grows by a
row, n rows would take n (n + 1) / 2 rows of memory: 100 models of 6.7 MB 33 GB. So it is a list of
blocks, as the digits of a binary number, where a full block moves up into the next (a binary
counter):

    rows so far    block of 1   of 2   of 4
        1          a
        2                       a b
        3          c            a b
        4                              a b c d

A tensor that passes through unchanged is not copied, so each row is copied at most log2(n) + 1
times.
The last block takes all that comes. A client's tensors travel as one vector for each dtype.
"""

from collections.abc import Callable
from math import prod
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

Stack = list[Any]
"""A tensor [clients, *shape] for each tensor of a client's value."""

BLOCKS = 12
"""Their sizes are 1, 2, 4, ... rows; the last one's is free, so that up to 2,048 clients cost as
said, and more work.
"""


def gather(values: Any, value_type: Any, report: Callable[[Stack], Any] = list) -> Any:
    """Return at the server `report` of the clients' values, stacked in the order of the clients;
    inside a federated computation.

    Args:
        values: a list of tensors at each client.
        value_type: its TFF type.
        report: takes [clients, *shape] for each tensor.
    """
    layout = _Layout([(kind.dtype, tuple(kind.shape)) for kind in value_type.children()])
    blocks_type = tff.types.to_type(
        [[tff.TensorType(dtype, [None, width])] * BLOCKS for dtype, width in layout.widths.items()]
    )

    @tff.tensorflow.computation
    def nothing() -> Any:
        return [[tf.zeros([0, width], dtype)] * BLOCKS for dtype, width in layout.widths.items()]

    @tff.tensorflow.computation(blocks_type, value_type)
    def accumulate(blocks: Any, value: Any) -> Any:
        return [
            _counted_up(list(dtype_blocks), row)
            for dtype_blocks, row in zip(blocks, layout.rows(list(value)), strict=True)
        ]

    @tff.tensorflow.computation(blocks_type, blocks_type)
    def merge(left: Any, right: Any) -> Any:
        # Before the last of `accumulate`, never after: all may go into the last block.
        joined = [
            tf.concat([_joined(list(earlier)), _joined(list(later))], axis=0)
            for earlier, later in zip(left, right, strict=True)
        ]
        return [[*[tf.zeros_like(rows[:0])] * (BLOCKS - 1), rows] for rows in joined]

    @tff.tensorflow.computation(blocks_type)
    def finish(blocks: Any) -> Any:
        return report(layout.tensors([_joined(list(dtype_blocks)) for dtype_blocks in blocks]))

    return tff.federated_aggregate(values, nothing(), accumulate, merge, finish)


class _Layout:
    """How a value's tensors lie in one row for each dtype; `widths` has the rows' lengths."""

    def __init__(self, specs: list[tuple[Any, tuple[int, ...]]]) -> None:
        self._specs = specs
        self._sizes: dict[Any, list[int]] = {}
        for dtype, shape in specs:
            self._sizes.setdefault(dtype, []).append(prod(shape))
        self.widths = {dtype: sum(sizes) for dtype, sizes in self._sizes.items()}

    def rows(self, value: list[Any]) -> list[Any]:
        """Return a value as float32 [1, width], or another dtype's, for each dtype."""
        flat: dict[Any, list[Any]] = {dtype: [] for dtype in self.widths}
        for tensor, (dtype, _) in zip(value, self._specs, strict=True):
            flat[dtype].append(tf.reshape(tensor, [1, -1]))
        return [tf.concat(tensors, axis=1) for tensors in flat.values()]

    def tensors(self, stacks: list[Any]) -> Stack:
        """Return [clients, *shape] for each tensor of what `rows` made [clients, width]."""
        flat = {
            dtype: iter(tf.split(stack, sizes, axis=1))
            for (dtype, sizes), stack in zip(self._sizes.items(), stacks, strict=True)
        }
        return [tf.reshape(next(flat[dtype]), [-1, *shape]) for dtype, shape in self._specs]


def _counted_up(blocks: list[Any], row: Any) -> list[Any]:
    """Return the blocks with one row more: it moves up past full blocks, taking their rows along,
    into the first that is empty.
    """
    counted = []
    moving = row
    for block in blocks[:-1]:
        settled, moving = _moved_up(block, moving)
        counted.append(settled)
    return [
        *counted,
        tf.cond(
            _empty(moving), lambda: blocks[-1], lambda: tf.concat([blocks[-1], moving], axis=0)
        ),
    ]


def _moved_up(block: Any, moving: Any) -> tuple[Any, Any]:
    """Return a block and what moves on, when `moving` came to it; copies only if both have rows."""
    nothing = tf.zeros_like(moving[:0])
    arrive = lambda: tf.cond(  # noqa: E731
        _empty(block),
        lambda: (moving, nothing),
        lambda: (nothing, tf.concat([block, moving], axis=0)),
    )
    return tf.cond(_empty(moving), lambda: (block, moving), arrive)  # type: ignore[no-any-return]


def _empty(rows: Any) -> Any:
    return tf.equal(tf.shape(rows)[0], 0)


def _joined(blocks: list[Any]) -> Any:
    """Return all rows in their order: the larger a block, the earlier its rows."""
    return tf.concat(blocks[::-1], axis=0)
