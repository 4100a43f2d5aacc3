"""All clients' values in the order of the clients, whatever their number and the number of workers, and few copies of them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from fedpipe.algorithms import stacking
from fedpipe.config.schema import RuntimeConfig
from fedpipe.engine.runtime import Runtime

KIND = tff.types.to_type(
    [tff.TensorType(np.float32, [2, 3]), tff.TensorType(np.int64), tff.TensorType(np.float32)]
)


@tff.federated_computation(tff.FederatedType(KIND, tff.CLIENTS))
def gathered(values: Any) -> Any:
    return stacking.gather(values, KIND)


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    with Runtime(
        RuntimeConfig(workers=2), tmp_path_factory.mktemp("two") / "worker.log"
    ) as runtime:
        yield runtime


def values_of(clients: int) -> list[Any]:
    return [
        [np.full((2, 3), number, np.float32), np.int64(10 * number), np.float32(-number)]
        for number in range(clients)
    ]


@pytest.mark.parametrize("clients", [1, 2, 3, 4, 7, 8, 9, 21])
def test_rows_are_in_the_order_of_the_clients(
    tff_runtime: Runtime, two_workers: Runtime, clients: int
) -> None:
    for runtime in (tff_runtime, two_workers):
        tensors, whole, scalars = runtime.call(gathered, values_of(clients))
        np.testing.assert_array_equal(
            tensors, np.broadcast_to(np.arange(clients)[:, None, None], (clients, 2, 3))
        )
        np.testing.assert_array_equal(whole, 10 * np.arange(clients))
        np.testing.assert_array_equal(scalars, -np.arange(clients))
        assert (tensors.dtype, whole.dtype, scalars.dtype) == (np.float32, np.int64, np.float32)


def test_more_rows_than_the_blocks_hold(
    tff_runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacking, "BLOCKS", 3)

    @tff.federated_computation(tff.FederatedType(KIND, tff.CLIENTS))
    def in_three_blocks(values: Any) -> Any:
        return stacking.gather(values, KIND)

    _, whole, _ = tff_runtime.call(in_three_blocks, values_of(22))
    np.testing.assert_array_equal(whole, 10 * np.arange(22))


def test_a_row_is_copied_as_often_as_a_count_has_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    # Were it one tensor that grows, 64 rows would be copied 64 * 65 / 2 = 2,080 times.
    copied, concat = [], tf.concat
    monkeypatch.setattr(
        stacking.tf,
        "concat",
        lambda tensors, axis: copied.append(sum(map(len, tensors))) or concat(tensors, axis),
    )
    blocks = [tf.zeros([0, 5])] * stacking.BLOCKS
    for number in range(64):
        blocks = stacking._counted_up(blocks, tf.fill([1, 5], float(number)))
    assert [len(block) for block in blocks] == [0] * 6 + [64] + [0] * 5
    assert sum(copied) == 64 * 6
    np.testing.assert_array_equal(stacking._joined(blocks)[:, 0], np.arange(64))
