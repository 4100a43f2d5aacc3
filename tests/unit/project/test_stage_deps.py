"""What the stages of `dvc.yaml` depend on is what their code imports."""

import ast
from pathlib import Path

import grimp
import pytest
import yaml

ROOT = Path(__file__).parents[3]
COMMANDS = "fedpipe.cli.pipeline"
GRAPH = grimp.build_graph("fedpipe", "flows", exclude_type_checking_imports=True)


def imported_by_command(stage: str) -> set[str]:
    """Return the modules that the body of the stage's command imports, but for the terminal's."""
    tree = ast.parse((ROOT / "fedpipe/cli/pipeline.py").read_text(encoding="utf-8"))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    modules = {
        node.module
        for name in (stage, "_load")
        for node in ast.walk(functions[name])
        if isinstance(node, ast.ImportFrom) and node.module is not None
    }
    ours = {name for name in modules if name.startswith(("fedpipe.", "flows"))}
    return {name for name in ours if not name.startswith("fedpipe.cli.")}


def place(module: str) -> str:
    """Return the package's folder, or the file of a module beside the packages."""
    parts = module.split(".")[:2]
    folder = ROOT.joinpath(*parts)
    return "/".join(parts) if folder.is_dir() else "/".join(parts) + ".py"


def code_of(stage: str) -> set[str]:
    """Return what the stage's command imports, directly and through other modules."""
    modules = set()
    for entry in imported_by_command(stage):
        modules |= {entry} | GRAPH.find_upstream_modules(entry)
    return {place(module) for module in modules - {"fedpipe", "flows"}}


@pytest.mark.parametrize("stage", ["prepare", "train", "evaluate"])
def test_a_stage_depends_on_the_code_that_it_imports(stage: str) -> None:
    definition = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    deps = definition["stages"][stage]["deps"]
    code = [dep for dep in deps if dep.startswith(("fedpipe/", "flows"))]
    assert code == [*sorted(code_of(stage)), "fedpipe/cli/pipeline.py"], (
        "write these into dvc.yaml, then run `dvc repro prepare` and commit dvc.lock"
    )
