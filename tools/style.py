"""Style counts of the code, each with a limit in `pyproject.toml`: CI fails when one gets worse.

    uv run python -m tools.style                  counts of fedpipe/ and flows/, beside their limits
    uv run python -m tools.style fedpipe/data     counts of a folder, without limits

Docstrings and comments are not code here: they count as lines only.
"""

import argparse
import ast
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = (ROOT / "fedpipe", ROOT / "flows")

VAGUE_NAMES = frozenset(
    ("found", "kept", "one", "other", "part", "said", "these", "those", "wanted", "what")
)
"""Names that do not say what the variable holds."""

MAX_COLUMNS = 100


@dataclass
class Totals:
    """Absolute counts over some source files."""

    lines: int = 0
    lines_over_100_columns: int = 0
    bindings: int = 0
    vague_names: int = 0
    tuple_assignments: int = 0
    conditional_expressions: int = 0
    comprehensions: int = 0
    code_characters: int = 0


@dataclass(frozen=True)
class StyleCounts:
    """Figures to compare with the limits; the lower, the better."""

    vague_names_per_1000_bindings: float
    lines_over_100_columns: int
    tuple_assignments_per_1000_lines: float
    conditional_expressions_per_1000_lines: float
    comprehensions_per_1000_lines: float
    code_characters: int


def count_style(sources: Iterable[str]) -> StyleCounts:
    """Count the style of Python sources.

    Args:
        sources: The text of each file.

    Raises:
        SyntaxError: A text is not Python.
    """
    totals = Totals()
    for source in sources:
        _add_source(totals, source)
    lines = max(totals.lines, 1)
    return StyleCounts(
        vague_names_per_1000_bindings=_per_1000(totals.vague_names, max(totals.bindings, 1)),
        lines_over_100_columns=totals.lines_over_100_columns,
        tuple_assignments_per_1000_lines=_per_1000(totals.tuple_assignments, lines),
        conditional_expressions_per_1000_lines=_per_1000(totals.conditional_expressions, lines),
        comprehensions_per_1000_lines=_per_1000(totals.comprehensions, lines),
        code_characters=totals.code_characters,
    )


def broken_limits(counts: StyleCounts, limits: Mapping[str, float]) -> list[str]:
    """Return a message for each count above its limit.

    Raises:
        KeyError: A count has no limit.
    """
    messages = []
    for field in fields(counts):
        value = getattr(counts, field.name)
        if value > limits[field.name]:
            messages.append(f"{field.name}: {value}, at most {limits[field.name]} allowed")
    return messages


def read_limits(pyproject: Path) -> dict[str, float]:
    """Return `[tool.fedpipe.style]` of a `pyproject.toml`."""
    settings = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    limits: dict[str, float] = settings["tool"]["fedpipe"]["style"]
    return limits


def _per_1000(count: int, total: int) -> float:
    return round(1000 * count / total, 1)


def _add_source(totals: Totals, source: str) -> None:
    tree = ast.parse(source)
    _remove_docstrings(tree)
    totals.lines += source.count("\n")
    for line in source.splitlines():
        totals.lines_over_100_columns += len(line) > MAX_COLUMNS
    for node in ast.walk(tree):
        _add_node(totals, node)
    totals.code_characters += len(ast.unparse(tree))


def _add_node(totals: Totals, node: ast.AST) -> None:
    match node:
        case ast.Name(id=name, ctx=ast.Store()):
            totals.bindings += 1
            totals.vague_names += name.lstrip("_") in VAGUE_NAMES
        case ast.arg(arg=name):
            totals.bindings += 1
            totals.vague_names += name in VAGUE_NAMES
        case ast.Assign(targets=[ast.Tuple(), *_], value=ast.Tuple()):
            totals.tuple_assignments += 1
        case ast.IfExp():
            totals.conditional_expressions += 1
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            totals.comprehensions += 1


def _remove_docstrings(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            match node.body:
                case [ast.Expr(value=ast.Constant(value=str())), *statements]:
                    node.body = statements or [ast.Pass()]


def main(arguments: list[str] | None = None) -> int:
    """Print the counts; return 1 if one is above its limit."""
    parser = argparse.ArgumentParser(prog="python -m tools.style", description="Count the style.")
    parser.add_argument("folders", nargs="*", type=Path, help="count these, without limits")
    folders = parser.parse_args(arguments).folders
    paths = sorted(path for folder in folders or PACKAGES for path in folder.rglob("*.py"))
    if not paths:
        parser.error(f"no Python files in {', '.join(map(str, folders))}")

    counts = count_style(path.read_text(encoding="utf-8") for path in paths)
    for field in fields(counts):
        print(f"{getattr(counts, field.name):>11,}  {field.name}")
    if folders:
        return 0
    messages = broken_limits(counts, read_limits(ROOT / "pyproject.toml"))
    for message in messages:
        print(f"tools.style: {message} ([tool.fedpipe.style] in pyproject.toml)")
    return int(bool(messages))


if __name__ == "__main__":
    raise SystemExit(main())
