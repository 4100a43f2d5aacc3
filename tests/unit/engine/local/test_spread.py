"""How an argument's clients are shared out over workers. Types alone: no worker runs."""

import numpy as np
import pytest
import tensorflow_federated as tff

from fedpipe.engine.local.spread import compile_mergeable, share_out, takes_clients_gives_server
from fedpipe.errors import ConfigError

AT_CLIENTS = tff.FederatedType(np.int32, tff.CLIENTS)
AT_SERVER = tff.FederatedType(np.int32, tff.SERVER)


@pytest.mark.parametrize(
    ("clients", "shares", "expected"),
    [
        (4, 2, [[0, 1], [2, 3]]),
        (5, 2, [[0, 1], [2, 3, 4]]),
        (7, 3, [[0, 1], [2, 3], [4, 5, 6]]),
        (2, 3, [[0], [1]]),  # a worker without clients is left out
        (0, 3, [[]]),
    ],
)
def test_clients_keep_their_order_and_each_is_in_one_share(
    clients: int, shares: int, expected: list[list[int]]
) -> None:
    assert share_out(list(range(clients)), AT_CLIENTS, shares) == expected


@pytest.mark.parametrize("order", [("state", "clients"), ("clients", "state")])
def test_all_else_is_in_every_share_wherever_it_stands(order: tuple[str, str]) -> None:
    kinds, values = (
        {"state": AT_SERVER, "clients": AT_CLIENTS},
        {"state": 9, "clients": [1, 2, 3, 4]},
    )
    argument = tff.structure.Struct([(name, values[name]) for name in order])
    first, second = share_out(argument, tff.StructType([(name, kinds[name]) for name in order]), 2)
    assert (first.state, first.clients) == (9, [1, 2])
    assert (second.state, second.clients) == (9, [3, 4])


def test_what_is_equal_at_all_clients_is_not_shared_out() -> None:
    everywhere = tff.FederatedType(np.int32, tff.CLIENTS, all_equal=True)
    assert share_out(5, everywhere, 3) == [5]


@pytest.mark.parametrize(
    ("parameter", "result", "spreads"),
    [
        (tff.StructType([AT_SERVER, AT_CLIENTS]), AT_SERVER, True),
        (AT_SERVER, AT_SERVER, False),
        (AT_CLIENTS, AT_CLIENTS, False),
        (tff.StructType([AT_SERVER, AT_CLIENTS]), tff.StructType([AT_SERVER, AT_CLIENTS]), False),
        (None, AT_SERVER, False),
    ],
)
def test_a_computation_spreads_if_clients_come_in_and_none_go_out(
    parameter: object, result: object, spreads: bool
) -> None:
    assert takes_clients_gives_server(tff.FunctionType(parameter, result)) is spreads


def test_aggregations_that_depend_on_one_another_are_refused() -> None:
    @tff.federated_computation(AT_CLIENTS)
    def sum_of_what_exceeds_the_sum(values: object) -> object:
        total = tff.federated_broadcast(tff.federated_sum(values))
        larger = tff.federated_map(
            tff.tensorflow.computation(lambda a, b: a - b, [np.int32, np.int32]), (values, total)
        )
        return tff.federated_sum(larger)

    with pytest.raises(
        ConfigError,
        match=r"runtime\.workers, runtime\.remote: expected an algorithm .* Set runtime\.workers to 1",
    ):
        compile_mergeable(sum_of_what_exceeds_the_sum)
