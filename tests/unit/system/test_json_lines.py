"""Lines that a kill cut short are left out, and cut off only by the process that owns the file."""

from pathlib import Path

import pytest

from fedpipe.system.json_lines import append_line, json_line, repaired_lines, whole_lines


def test_lines_are_added_and_read(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    assert whole_lines(path) == repaired_lines(path) == []
    append_line(path, {"a": 1})
    append_line(path, {"b": "ü"})
    assert path.read_bytes() == json_line({"a": 1}) + json_line({"b": "ü"})
    assert whole_lines(path) == [{"a": 1}, {"b": "ü"}]


def test_an_unfinished_line_is_left_out_and_only_a_repair_cuts_it(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b'{"a": 1}\n{"b"')
    assert whole_lines(path) == [{"a": 1}]
    assert path.read_bytes() == b'{"a": 1}\n{"b"'
    assert repaired_lines(path) == [{"a": 1}]
    assert path.read_bytes() == b'{"a": 1}\n'


def test_a_whole_line_that_is_not_json_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "lines").write_bytes(b"no\n")
    with pytest.raises(ValueError, match="Expecting value"):
        whole_lines(tmp_path / "lines")
