"""Hosts with addresses of their own, in network namespaces: bits, losses, refusals, and what a listener on the cable hears."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[4]
sys.path.insert(0, str(ROOT))

from benchmarks import hosts as lab_of_hosts  # noqa: E402 - benchmarks are no installed package
from benchmarks.lib.hosts_lab import Lab, NotHere, payload  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with ExitStack() as stack:
        try:
            lab = stack.enter_context(Lab(3))
        except NotHere as err:
            pytest.skip(f"hosts cannot be made here: {err}")
        made = lab_of_hosts.Hosts(lab, tmp_path_factory.mktemp("hosts"), stack)
        for host in lab.hosts[1:]:
            made.start(host)
        yield made


@pytest.fixture(scope="module")
def expected(hosts: Any) -> str:
    """Return the weights after three rounds on one host alone."""
    with hosts.run([]) as run:
        return str(run.ask({"rounds": 3})["weights"])


def test_three_workers_give_the_bits_of_one_host(hosts: Any, expected: str) -> None:
    with hosts.run(["w1", "w2", "w3"]) as run:
        answer = run.ask({"rounds": 3})
    assert (answer["weights"], answer["lost"]) == (expected, [])


@pytest.mark.parametrize("kind", ["killed", "stopped", "link_down", "slow"])
def test_a_host_that_is_lost_in_mid_round_changes_no_bit(
    hosts: Any, expected: str, kind: str
) -> None:
    found = lab_of_hosts.loss(hosts, kind, expected)
    assert found["bits_equal"]
    assert max(found["seconds"]) < lab_of_hosts.MOST_SURVIVED_SECONDS
    if kind != "slow":
        assert any(hosts.address("w2") in loss for loss in found["lost"]), found


def test_who_has_no_certificate_of_this_ca_is_refused(hosts: Any) -> None:
    assert {
        name: said.partition(":")[0] for name, said in lab_of_hosts.refusals(hosts).items()
    } == {
        "no_certificate": "refused",
        "expired": "refused",
        "other_ca": "refused",
    }


def test_a_listener_on_the_cable_finds_weights_only_where_they_are_sent_in_clear(
    hosts: Any,
) -> None:
    assert lab_of_hosts.clear_text(hosts) == {"secret": False, "control": True, "heard": True}


def test_what_a_listener_makes_of_frames() -> None:
    def frame(port: int, body: bytes) -> bytes:
        tcp = port.to_bytes(2, "big") + bytes(10) + bytes([5 << 4]) + bytes(7) + body
        ip = (
            bytes([0x45, 0])
            + (20 + len(tcp)).to_bytes(2, "big")
            + bytes(5)
            + bytes([6])
            + bytes(10)
        )
        return bytes(12) + b"\x08\x00" + ip + tcp + bytes(6)  # padding of a short frame

    assert payload([frame(1, b"abc"), frame(2, b"XYZ"), frame(1, b"def")]) == b"abcdef|XYZ"
