"""No pickle is read or written, no text is run as code, YAML is loaded safely: by the sources themselves."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = {
    "pickle",
    "_pickle",
    "pickletools",
    "cloudpickle",
    "dill",
    "joblib",
    "shelve",
    "marshal",
    "jsonpickle",
}
CALLS = {"eval", "exec", "compile", "__import__"}
LOADERS = {"load", "load_all", "unsafe_load", "unsafe_load_all", "full_load", "full_load_all"}
NAMES = {"read_pickle", "to_pickle", "UnsafeLoader", "FullLoader", "Loader", "Unpickler", "Pickler"}


def offences(source: str) -> list[str]:
    """Return what a piece of Python does that could run foreign code, a line each."""
    found = []
    for node in ast.walk(ast.parse(source)):
        named: list[str] = []
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names if alias.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and node.module != "importlib.abc":
            parts = {*(node.module or "").split("."), *(alias.name for alias in node.names)}
            named = sorted(parts & (MODULES | NAMES))
        elif isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            if (
                node.attr in MODULES | NAMES
                or (owner == "yaml" and node.attr in LOADERS)
                or (owner == "torch" and node.attr == "load")
            ):
                named = [ast.unparse(node)]
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in CALLS:
                named = [f"{node.func.id}()"]
            named += [
                f"{one.arg}={ast.unparse(one.value)}"
                for one in node.keywords
                if one.arg == "allow_pickle"
                and not (isinstance(one.value, ast.Constant) and one.value.value is False)
            ]
        found += [f"line {getattr(node, 'lineno', 0)}: {name}" for name in named]
    return found


@pytest.mark.parametrize("folder", ["fedpipe", "flows", "benchmarks"])
def test_the_sources_have_none(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert len(files) > 5
    found = {
        str(file.relative_to(ROOT)): offences(file.read_text(encoding="utf-8")) for file in files
    }
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "planted",
    [
        "import pickle",
        "import os, cloudpickle as c",
        "from joblib import dump",
        "from torch.utils import pickle",
        "def f():\n    import shelve",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=wanted)",
        "frame.to_pickle(path)",
        "torch.load(path)",
        "yaml.load(text)",
        "yaml.load(text, Loader=yaml.SafeLoader)",
        "yaml.unsafe_load(text)",
        "yaml.safe_load(text) if safe else yaml.full_load(text)",
        "eval('1')",
        "exec(text)",
        "xmlrpc.client.marshal.loads(body)",
    ],
)
def test_the_check_finds_each_offence(planted: str) -> None:
    assert offences(f"x = 1\n{planted}\n") != []


def test_the_check_lets_what_is_safe_pass() -> None:
    safe = "import json, yaml, re\nre.compile('x')\nyaml.safe_load(t)\nnp.load(p, allow_pickle=False)\nmodel.compile()\nload(t)\n"
    assert offences(safe) == []
