"""Check that no two modules import each other, directly or through others.

    uv run python -m tools.import_circles

Every import statement counts: inside functions and under `if TYPE_CHECKING` too. `pyproject.toml`
lists the circles that are still allowed, in `[tool.fedpipe.import_circles]`.
"""

import tomllib
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
PACKAGES = ("fedpipe", "flows")

Circle = frozenset[str]
"""Names of modules, each of which reaches each other one by imports."""


def import_circles(*packages: str) -> set[Circle]:
    """Return the circles between the modules of importable packages, as large as they are."""
    graph = grimp.build_graph(*packages, cache_dir=None)
    circles = set()
    for module in graph.modules:
        mutual = graph.find_upstream_modules(module) & graph.find_downstream_modules(module)
        if mutual - {module}:
            circles.add(frozenset(mutual | {module}))
    return circles


def problems(circles: set[Circle], known: set[Circle]) -> list[str]:
    """Return a message for each circle that is not known, and for each known one that is gone."""
    messages = []
    for circle in sorted(circles - known, key=sorted):
        messages.append(f"these modules import each other: {', '.join(sorted(circle))}")
    for circle in sorted(known - circles, key=sorted):
        messages.append(
            f"no circle any more, remove it from [tool.fedpipe.import_circles] in pyproject.toml: {', '.join(sorted(circle))}"
        )
    return messages


def read_known(pyproject: Path) -> set[Circle]:
    """Return `[tool.fedpipe.import_circles]` of a `pyproject.toml`; no table means none."""
    settings = tomllib.loads(pyproject.read_text(encoding="utf-8"))["tool"]["fedpipe"]
    return {frozenset(circle) for circle in settings.get("import_circles", {}).get("known", [])}


def main() -> int:
    """Print what is wrong; return 1 if anything is."""
    messages = problems(import_circles(*PACKAGES), read_known(ROOT / "pyproject.toml"))
    for message in messages:
        print(f"tools.import_circles: {message}")
    return int(bool(messages))


if __name__ == "__main__":
    raise SystemExit(main())
