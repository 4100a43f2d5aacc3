"""Writes `docs/params.md` from the schema: `python -m fedpipe.config.reference >
docs/params.md`.
"""

import json
import types
import typing
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Union

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from fedpipe.config.ignored_settings import CHOICES
from fedpipe.config.schema import Config, known_settings

_HEAD = """# Settings: `params.yaml`

Generated from `fedpipe/config/schema.py` by `uv run python -m fedpipe.config.reference >
docs/params.md`; a test holds it current. Each setting can be overridden for one run: `uv run
fedpipe run -S client.learning_rate=0.05`.

A section holds only the settings that its choices read: `aggregator: {name: trimmed_mean,
trim_fraction: 0.1}`, but `aggregator: {name: median}`. Another setting there is refused, with the
choice that would read it. `-S aggregator.name=krum` makes another choice: what the file has for the
choice made before is left out, what both read stays. An older file, which has all settings of all
choices, is refused with the sections to write in its place. DVC's own `-S` changes the file; there
a setting that the file does not have takes a plus:
`dvc exp run -S algorithm.name=fedprox -S +algorithm.mu=0.1`.

The file is YAML 1.2, as DVC reads it: `1e-3` is a number, `yes`, `no`, `on` and `off` are texts
(write `true` or `false`). A byte order mark and Windows line ends are read. What is not valid is
refused with file, line and column, as in `params.yaml:12:3: ...`; so is a key that occurs twice
in a section, with both lines, and a merge that is not resolved (`<<<<<<<`). `-S` twice for the same
setting is refused too. The same holds for `params/*.yaml`, `sweep.yaml`, `dvc.yaml`, `dvc.lock` and
`prefect.yaml`.
"""


def reference() -> str:
    """Return the reference of all settings as Markdown."""
    top: list[str] = []
    sections: list[str] = []
    for key, field in known_settings().items():
        section, _, name = key.partition(".")
        if not name:
            top.append(_row(key, field))
            continue
        title = f"\n## {section}\n\n{Config.model_fields[section].description}\n\n{_TABLE}"
        if title not in sections:
            sections.append(title)
        sections.append(_row(key, field))
    return "\n".join([_HEAD, _TABLE, *top, *sections]) + "\n"


_TABLE = "| setting | type | default | what |\n| --- | --- | --- | --- |"


def _row(key: str, field: FieldInfo) -> str:
    default = field.default
    if default is None or isinstance(default, bool):
        default = json.dumps(default)
    kind = _type_text(field.annotation, field.metadata)
    readers = ""
    name = key.rpartition(".")[2]
    for choice in CHOICES:
        values = choice.readers.get(name, choice.values)
        if choice.key == key:
            kind = _names(choice.values)
        elif key.startswith(f"{choice.section}.") and set(values) != set(choice.values):
            readers = f" `{choice.setting}: {'` or `'.join(values)}` only."
    return f"| `{key}` | {kind} | `{default}` | {field.description}{readers} |"


def _names(values: Iterable[str]) -> str:
    return " or ".join(f"`{value}`" for value in values)


def _type_text(annotation: Any, metadata: Any = ()) -> str:
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        inner, *extra = typing.get_args(annotation)
        return _type_text(inner, [m for e in extra for m in getattr(e, "metadata", [e])])
    if origin is Literal:
        return _names(typing.get_args(annotation))
    if origin in (Union, types.UnionType):
        return " or ".join(_type_text(a, metadata) for a in typing.get_args(annotation))
    if annotation is type(None):
        return "`null`"
    signs = {Ge: ("ge", ">="), Gt: ("gt", ">"), Le: ("le", "<="), Lt: ("lt", "<")}
    bounds = [
        f"{sign} {getattr(m, name)}"
        for m in metadata
        for kind, (name, sign) in signs.items()
        if isinstance(m, kind)
    ]
    return " ".join([annotation.__name__, ", ".join(bounds)]).strip()


if __name__ == "__main__":
    print(reference(), end="")
