"""What a round sends to its clients: where examples are, how many, seed and rate. No worker runs."""

from dataclasses import dataclass

import numpy as np
import pytest

from fedpipe.algorithms.client_refs import ClientRefs
from fedpipe.seeding import derive_seed


@dataclass
class File:
    name: str
    count: int

    def exists(self) -> bool:
        return True

    def read_bytes(self) -> bytes:
        return f"bytes of {self.name}".encode()

    def address(self, here: bool) -> bytes:
        return f"{'/cache/' if here else ''}{self.name}".encode()


CLIENTS = {"b": File("of b", 3), "a": File("of a", 5)}


@pytest.mark.parametrize(
    ("by_value", "remote", "here", "expected"),
    [
        (False, False, False, [b"/cache/of b", b"/cache/of a"]),
        (False, True, False, [b"of b", b"of a"]),
        (False, True, True, [b"/cache/of b", b"/cache/of a"]),
        (True, True, False, [b"bytes of of b", b"bytes of of a"]),
    ],
)
def test_data_are_a_path_a_name_on_other_machines_or_the_bytes(
    by_value: bool, remote: bool, here: bool, expected: list[bytes]
) -> None:
    refs = ClientRefs(7, by_value, remote).of_group(2, 0.5, CLIENTS, here)
    assert refs["data"].tolist() == expected


def test_a_group_has_vectors_in_its_order_and_a_client_the_same_as_scalars() -> None:
    refs = ClientRefs(7, by_value=False, remote=False)
    group = refs.of_group(2, 0.5, CLIENTS)
    assert list(group) == ["data", "count", "seed", "rate"]
    assert group["count"].tolist() == [3, 5]
    assert group["seed"].tolist() == [derive_seed(7, "client", 2, name) for name in ("b", "a")]
    assert group["rate"].tolist() == [0.5, 0.5]
    assert [group[name].dtype for name in ("count", "seed", "rate")] == [
        np.dtype(kind) for kind in ("int64", "int64", "float32")
    ]
    alone = refs.of_client(2, 0.5, "a", CLIENTS["a"])
    assert dict(alone) == {name: vector[1] for name, vector in group.items()}
