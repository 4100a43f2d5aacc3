"""Writes `docs/params.md` from the schema: `python -m fedpipe.config.reference >
docs/params.md`.
"""

import types
import typing
from typing import Annotated, Any, Literal, Union

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fedpipe.config.schema import Config

_HEAD = """# Settings: `params.yaml`

Generated from `fedpipe/config/schema.py` by `uv run python -m fedpipe.config.reference > docs/params.md`; a test holds it
current. Each setting can be overridden for one run: `uv run fedpipe run -S client.learning_rate=0.05`.

The file is YAML 1.2, as DVC reads it: `1e-3` is a number, `yes`, `no`, `on` and `off` are texts (write `true` or `false`). A byte order
mark and Windows line ends are read. What is not valid is refused with file, line and column, as in `params.yaml:12:3: ...`; so is a key
that stands twice in a group, with both lines, and a merge that is not resolved (`<<<<<<<`). `-S` twice for the same setting is refused too.
The same holds for `params/*.yaml`, `sweep.yaml`, `dvc.yaml`, `dvc.lock` and `prefect.yaml`.
"""


def reference() -> str:
    """Return the reference of all settings as Markdown."""
    top: list[str] = []
    groups: list[str] = []
    for name, field in Config.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            rows = [_row(f"{name}.{key}", inner) for key, inner in annotation.model_fields.items()]
            groups += [f"\n## {name}\n\n{field.description}\n", _TABLE, *rows]
        else:
            top.append(_row(name, field))
    return "\n".join([_HEAD, _TABLE, *top, *groups]) + "\n"


_TABLE = "| setting | type | default | what |\n| --- | --- | --- | --- |"


def _row(key: str, field: FieldInfo) -> str:
    default = (
        "null"
        if field.default is None
        else str(field.default).lower()
        if isinstance(field.default, bool)
        else field.default
    )
    return (
        f"| `{key}` | {_type_text(field.annotation, field.metadata)} | `{default}` | "
        f"{field.description} |"
    )


def _type_text(annotation: Any, metadata: Any = ()) -> str:
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        inner, *extra = typing.get_args(annotation)
        return _type_text(inner, [m for e in extra for m in getattr(e, "metadata", [e])])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in typing.get_args(annotation))
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
