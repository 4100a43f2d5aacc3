"""Reads YAML 1.2 by ruamel.yaml, as DVC does, and names the place of an error: file, line and
column.

The marks of an unresolved merge, a key that stands twice and a second document are errors.
"""

import functools
import re
from copy import deepcopy
from pathlib import Path
from typing import Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode
from ruamel.yaml.reader import ReaderError

from fedpipe.errors import ConfigError

_CONFLICT = re.compile(r"^(<{7}|>{7}|\|{7})( .*)?$|^={7}$")
_MERGE_HELP = (
    "Keep the lines of one side, and delete the other side and the lines <<<<<<<, ======= and "
    ">>>>>>>"
)


class _Constructor(SafeConstructor):
    """Builds plain values; dates stay texts."""

    def flatten_mapping(self, node: MappingNode) -> None:
        """Merge what `<<` names into the mapping. Raises MarkedYAMLError if a key stands twice."""
        first_marks: dict[Any, Any] = {}
        pairs = [] if node.merge else node.value  # a mapping that is merged comes here again
        for key_node, _ in pairs:
            if not isinstance(key_node, ScalarNode):
                raise MarkedYAMLError(
                    problem="a list or a mapping cannot be a key", problem_mark=key_node.start_mark
                )
            is_merge = key_node.tag == "tag:yaml.org,2002:merge"
            key = "<<" if is_merge else self.construct_object(key_node)
            if key in first_marks:
                raise MarkedYAMLError(
                    problem=f"the key '{key}' stands here and in line {first_marks[key].line + 1}. "
                    "Keep one of the two",
                    problem_mark=key_node.start_mark,
                )
            first_marks[key] = key_node.start_mark
        super().flatten_mapping(node)


_Constructor.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)


def read_yaml(path: Path, name: str | None = None, after_merge: str = "") -> Any:
    """Return what the YAML file at `path` holds; None of an empty one.

    Args:
        path: of the file.
        name: how errors name it; its path, if not given.
        after_merge: what to do once an unresolved merge in this file is resolved, as a sentence.

    Raises:
        FileNotFoundError: it is not there.
        ConfigError: it cannot be read, or is not valid; with line and column.
    """
    return parse_yaml(read_text(path, name, after_merge), name or str(path))


def read_text(path: Path, name: str | None = None, after_merge: str = "") -> str:
    """Return the text of a file of settings, without a byte order mark. Arguments and errors as
    those of `read_yaml`.
    """
    name = name or str(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as err:
        raise ConfigError(f"{name}: cannot be read: {err.strerror or err}.") from err
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConfigError(f"{name}: the file is UTF-16, not UTF-8. Save it as UTF-8.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        before = err.object[: err.start].decode(
            "utf-8"
        )  # without the byte order mark, if there is one
        place = _place(before, len(before))
        raise ConfigError(
            f"{name}:{place}: the byte 0x{err.object[err.start]:02x} is not UTF-8. Save the file "
            "as UTF-8."
        ) from err
    for number, line in enumerate(text.splitlines(), start=1):
        if _CONFLICT.match(line):
            mark = line[:40] + "..." * (len(line) > 40)
            raise ConfigError(
                f"{name}:{number}:1: a merge is not resolved: the line is `{mark}`. {_MERGE_HELP}. "
                f"{after_merge}".rstrip()
            )
    return text


def parse_yaml(text: str, name: str) -> Any:
    """Return what a YAML text holds. Raises ConfigError with `name`, line and column if it is not
    valid.
    """
    try:
        return deepcopy(_values_of(text))
    except ReaderError as err:
        sign = f"the character U+{ord(text[err.position]):04X}"
        raise ConfigError(
            f"{name}:{_place(text, err.position)}: not valid YAML: {sign} is not allowed. Delete "
            "it."
        ) from err
    except MarkedYAMLError as err:
        _refuse(err, name)
    except RecursionError as err:
        raise ConfigError(f"{name}: not valid YAML: nested too deeply.") from err
    except (
        ValueError
    ) as err:  # a scalar with an explicit tag that it does not fit, such as `!!int ten`
        raise ConfigError(f"{name}: not valid YAML: {' '.join(str(err).split())}.") from err


@functools.lru_cache(maxsize=16)
def _values_of(text: str) -> Any:
    """Return what a text holds; a run reads the same files several times, each in 30 ms."""
    reader = YAML(typ="safe", pure=True)
    reader.Constructor = _Constructor
    return reader.load(text)


def _refuse(err: MarkedYAMLError, name: str) -> NoReturn:
    mark = err.problem_mark or err.context_mark
    place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
    problem = " ".join((err.problem or err.context or "").split())
    if problem.startswith("the key '"):
        raise ConfigError(f"{place}: {problem}.") from err
    if "'\\t'" in problem:
        problem += " (a tab; YAML indents with spaces)"
    elif "could not determine a constructor for the tag" in problem:
        problem = f"unknown tag {problem.rpartition('tag ')[2]}. Remove it"
    if err.context and err.context_mark and err.problem_mark:
        problem += f" ({' '.join(err.context.split())}, line {err.context_mark.line + 1})"
    raise ConfigError(f"{place}: not valid YAML: {problem}.") from err


def _place(text: str, position: int) -> str:
    """Return `LINE:COLUMN`, both from 1, of a position in a text."""
    lines = text[:position].replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return f"{len(lines)}:{len(lines[-1]) + 1}"
