"""Classifies Arrow types: numbers, texts, lists, images."""

from typing import Any


def type_family(kind: Any) -> str:
    """Return `bool`, `number`, `text`, `list of ...` or Arrow's name: the types of one family may
    stand for each other in the files of a table.
    """
    from pyarrow import types

    if types.is_dictionary(kind):
        return type_family(kind.value_type)
    if types.is_boolean(kind):
        return "bool"
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return "number"
    if types.is_string(kind) or types.is_large_string(kind):
        return "text"
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return f"list of {type_family(kind.value_type)}"
    return str(kind)


def is_number(kind: Any) -> bool:
    """Return whether values are numbers or truth values."""
    return type_family(kind) in ("bool", "number")


def is_text(kind: Any) -> bool:
    """Return whether values are texts."""
    return type_family(kind) == "text"


def is_list(kind: Any) -> bool:
    """Return whether values are lists."""
    return type_family(kind).startswith("list of ")


def is_image(kind: Any) -> bool:
    """Return whether a column may hold encoded images: bytes, or Hugging Face's structure of bytes
    and path.
    """
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_struct(kind):
        fields = {field.name: field.type for field in kind}
        kind = fields.pop("bytes", kind)
        if set(fields) - {"path"}:
            return False
    return bool(types.is_binary(kind) or types.is_large_binary(kind))
