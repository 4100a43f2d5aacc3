"""Writes run one after the other; the error of one is raised by the next call, once."""

import threading
from functools import partial

import pytest

from fedpipe.system.background_writer import BackgroundWriter


def test_a_write_waits_for_the_one_before_it() -> None:
    order: list[int] = []
    may_end = threading.Event()
    writer = BackgroundWriter("test")

    def first() -> None:
        may_end.wait(10)
        order.append(1)

    writer.submit(first)
    assert order == []
    may_end.set()
    writer.submit(order.append, 2)
    writer.flush()
    writer.close()
    assert order == [1, 2]


@pytest.mark.parametrize("call", ["flush", "submit"])
def test_an_error_is_raised_by_the_next_call_and_only_there(call: str) -> None:
    written: list[int] = []
    writer = BackgroundWriter("test")

    def fail() -> None:
        raise OSError("full")

    writer.submit(fail)
    next_call = {"flush": writer.flush, "submit": partial(writer.submit, written.append, 1)}[call]
    with pytest.raises(OSError, match="full"):
        next_call()
    assert written == []
    writer.submit(written.append, 2)
    writer.flush()
    writer.close()
    assert written == [2]
