"""The style counts, on sources that can be counted by hand."""

from dataclasses import asdict, fields
from pathlib import Path

import pytest

from tools import style

BAD = (
    '''"""A docstring, which is not code: found, kept, one."""
found, _kept = 1, 2
def f(one, data):
    return [x if x else 0 for x in data]
# '''
    + 100 * "x"
    + "\n"
)

GOOD = '''"""A docstring."""
def mean(values):
    """Return the mean of one or more values."""
    return sum(values) / len(values)
'''


def test_counts_of_a_bad_source() -> None:
    counts = style.count_style([BAD])
    # 5 lines. Bindings: found, _kept, one, data, x; three of them are vague.
    assert counts.vague_names_per_1000_bindings == 600
    assert counts.lines_over_100_columns == 1
    assert counts.tuple_assignments_per_1000_lines == 200
    assert counts.conditional_expressions_per_1000_lines == 200
    assert counts.comprehensions_per_1000_lines == 200


def test_a_good_source_counts_its_code_alone() -> None:
    code = "def mean(values):\n    return sum(values) / len(values)"
    assert style.count_style([GOOD]) == style.StyleCounts(0, 0, 0, 0, 0, len(code))


def test_a_line_of_100_columns_is_allowed() -> None:
    lines = ["#" * 100, "#" * 101]
    assert style.count_style(["\n".join(lines)]).lines_over_100_columns == 1


def test_a_count_above_its_limit_is_named() -> None:
    counts = style.StyleCounts(4.9, 0, 2, 7, 15, 1000)
    limits = style.StyleCounts(5, 0, 2, 6, 15, 1000)
    assert style.broken_limits(counts, asdict(limits)) == [
        "conditional_expressions_per_1000_lines: 7, at most 6 allowed"
    ]
    assert style.broken_limits(limits, asdict(limits)) == []


def test_a_folder_is_counted_without_limits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.py").write_text(BAD)
    assert style.main([str(tmp_path)]) == 0
    assert "600.0  vague_names_per_1000_bindings" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        style.main([str(tmp_path / "empty")])


def test_every_count_has_a_limit_in_this_project() -> None:
    limits = style.read_limits(style.ROOT / "pyproject.toml")
    assert set(limits) == {field.name for field in fields(style.StyleCounts)}
