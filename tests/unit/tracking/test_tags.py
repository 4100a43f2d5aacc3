"""Names of tags: each has one name, and is written in one place."""

import ast
from pathlib import Path

import fedpipe
from fedpipe.tracking import tags

NAMES = {
    name: value
    for name, value in vars(tags).items()
    if name.isupper() and isinstance(value, str) and "." in value.rstrip(".")
}
BELOW = {"config", "data", "models", "algorithms", "engine"}
"""Packages that must not import `tracking`; some of their settings and facts are called as tags are."""


def test_no_two_constants_name_the_same_tag() -> None:
    assert len(set(NAMES.values())) == len(NAMES)


def test_modules_write_tags_by_their_constants() -> None:
    root = Path(fedpipe.__file__).parent
    literals = []
    for path in [*root.rglob("*.py"), *(root.parent / "flows").glob("*.py")]:
        if path == Path(tags.__file__) or path.relative_to(root.parent).parts[1] in BELOW:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and node.value in NAMES.values():
                literals.append(f"{path.name}:{node.lineno}: {node.value}")
    assert not literals
