"""The list of forgotten clients, and the place of what is wrong in it."""

from pathlib import Path

import pytest

from fedpipe.data.forgotten import forgotten_json, read_forgotten
from fedpipe.errors import FedpipeError


def test_the_list_is_read_back_and_none_is_empty(tmp_path: Path) -> None:
    assert read_forgotten(tmp_path) == frozenset()
    (tmp_path / "forgotten.json").write_text(forgotten_json(["ü", "b"]), encoding="utf-8-sig")
    assert read_forgotten(tmp_path) == {"ü", "b"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            b'[\n"a",\n<<<<<<< HEAD\n"b"\n=======\n"c"\n>>>>>>> x\n]\n',
            r"forgotten\.json:3:1: a merge is not resolved",
        ),
        (b'[\n"a",\n]\n', r"forgotten\.json:3:1: not a JSON list of client ids: Expecting value"),
        (b'["a", 1]', r"expected a JSON list of client ids, such as"),
        (b'["a\xff"]', r"forgotten\.json:1:4: the byte 0xff is not UTF-8"),
        (b"[" * 100_000, r"nested too deeply"),
        (b"", r"forgotten\.json:1:1: not a JSON list"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "forgotten.json").write_bytes(data)
    with pytest.raises(FedpipeError, match=message):
        read_forgotten(tmp_path)
