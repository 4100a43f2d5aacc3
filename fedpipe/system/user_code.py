"""Code of the user's own, `mypackage.module:function`: how it is imported, and how its errors are
told.

The error of a source, a model or an algorithm of the user's own is told in one line: the last line
of the exception, then the user's own line of code that it comes from. `--debug` shows the whole
traceback.
"""

import importlib
import linecache
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from fedpipe.errors import FedpipeError, did_you_mean
from fedpipe.system.stock_context import refuse_stock_context
from fedpipe.system.user_modules import use_project_code

_LONGEST = 400
_LONGEST_CAUSE = 150
_FILE_LINE = re.compile(r'File "([^"\n]+)", line (\d+)')
_IN_USER_CODE = re.compile(r'^ +File "[^"\n]+", line \d+, in [^\n]*\n(?: +[^\n]*\n)?', re.MULTILINE)
"""A frame in the text of an error that AutoGraph made: the file's line, and the line of code under
it.
"""
_FUNCTION_NODE = re.compile(r"\{\{function_node [^}]*\}\}\s*")
_NODE = re.compile(r"\{\{node ([^}]*)\}\}")
_DEFINED_AT = re.compile(r"^\s*(?:File \"[^\n]*|Node: '[^'\n]*')$", re.MULTILINE)
"""A line of where TensorFlow says that a node was defined, or which."""
_PACKAGE = str(Path(__file__).parents[1])
_INSTALLED = {
    os.path.realpath(folder)
    for folder in (
        _PACKAGE,
        str(Path(_PACKAGE).parent / "flows"),
        os.path.join(sys.prefix, "bin"),
        *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")),
    )
}
"""Folders of code that is not the user's own; what is below a folder `site-packages` is not
either.
"""

_own_places: set[str] = set()
"""Files and folders of modules that were imported as the user's own, wherever they are
installed.
"""


def import_own(where: str, project: Path | None, setting: str, error: type[FedpipeError]) -> Any:
    """Return what `module:function` names, from the project's folder if it is there.

    From here on a TFF computation that is called outside of fedpipe's runtime is an error: see
    `fedpipe.system.stock_context`.

    Args:
        where: `mypackage.module:function`.
        project: the project's folder; None if it is in use already.
        setting: which names it, such as `model.name`.
        error: the class of the error.

    Raises:
        ConfigError: the module has the name of another one.
        FedpipeError: of the class `error`; the module cannot be imported, or has no such function.
    """
    module_name, _, function = where.partition(":")
    name = f"{setting}={where}"
    if project is not None:
        use_project_code(project, where, setting)
    with own_code(name, error, f"importing {module_name}"):
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as err:
            if err.name is None or not f"{module_name}.".startswith(f"{err.name}."):
                raise  # a module that the user's own module imports
            raise error(f"{name}: {_no_module(err.name, project)}") from err
    refuse_stock_context(calling_frame)
    _own_places.add(_place_of(module))
    if not hasattr(module, function):
        names = [
            attribute
            for attribute, value in vars(module).items()
            if callable(value) and not attribute.startswith("_")
        ]
        hint = _did_you_mean(function, names) or (
            f"it has {', '.join(sorted(names)[:5]) or 'no function'}."
        )
        file = getattr(module, "__file__", None) or "the standard library"
        raise error(
            f"{name}: expected a function '{function}' in {_shown(file)}, found none; {hint}"
        )
    return getattr(module, function)


def _no_module(missing: str, project: Path | None) -> str:
    folder = (project or Path.cwd()).joinpath(*missing.split(".")[:-1])
    names = {path.stem for path in folder.glob("*.py")} | {
        path.parent.name for path in folder.glob("*/__init__.py")
    }
    file = (project or Path.cwd()).joinpath(*missing.split("."))
    hint = _did_you_mean(missing.split(".")[-1], sorted(names))
    hint = hint or "create it, or install the package."
    return (
        f"expected a module '{missing}', found neither {file}.py nor an installed package; {hint}"
    )


def _did_you_mean(name: str, names: list[str]) -> str:
    return did_you_mean(name, names).replace("Did", "did", 1)


def _place_of(module: ModuleType) -> str:
    """Return the module's file; of one in a package the folder of the outermost package."""
    file = Path(getattr(module, "__file__", None) or "").resolve()
    depth = module.__name__.count(".") + (file.name == "__init__.py")
    if depth:
        return str(file.parents[depth - 1])
    return str(file)


@contextmanager
def own_code(name: str, error: type[FedpipeError], doing: str) -> Iterator[None]:
    """Run a block that calls code of the user's own; whatever it raises becomes one line. Errors of
    fedpipe pass.

    Args:
        name: the setting with its value, such as `model.name=narrow:build`.
        error: the class of the error.
        doing: what was being done, such as `computing logits`.
    """
    try:
        yield
    except FedpipeError:
        raise
    except Exception as err:
        raise error(f"{name}: {describe_error(err)} (while {doing}; --debug shows all)") from err


def describe_error(err: BaseException) -> str:
    """Return the last line of an exception, as Python shows it, and the line of the user's own code
    that it comes from.

    >>> describe_error(ValueError("no such column"))
    'ValueError: no such column'
    """
    message = last_line(err)
    cause = err
    while cause.__cause__ is not None:
        cause = cause.__cause__
    if cause is not err and (because := last_line(cause, _LONGEST_CAUSE)) not in message:
        message += f" (from {because})"
    frame = own_frame(err)
    if frame is None:
        return message
    file, number, code = frame
    where = f"{message.rstrip('.')}, in {_shown(file)}:{number}"
    return f"{where}: `{code}`" if code else where


def last_line(err: BaseException, longest: int = _LONGEST) -> str:
    """Return `Type: message` of an exception, what matters of it: neither the frames that
    TensorFlow writes into messages, nor the names of its nodes; of a message above `longest`
    characters the last line, cut in the middle.
    """
    if isinstance(err, SyntaxError):
        return f"{type(err).__name__}: {err.msg}"
    text = str(err)
    kind = f"{type(err).__name__}: "
    details = getattr(err, "details", None)
    if callable(details):  # gRPC's errors, whose text is a page
        text = str(details()).removeprefix("Failed to run computation: ")
        kind = "in the TFF worker: "
    if "in user code:" in text:  # AutoGraph's: the exception is repeated at the end, with its type
        text = _IN_USER_CODE.split(text)[-1]
        kind = ""
    text = message_of(text, longest)
    if not text:
        return f"{type(err).__name__} without a message"
    return kind + text


def message_of(text: str, longest: int = _LONGEST) -> str:
    """Return what matters of a message of TensorFlow's or another library's in one line; see
    `last_line`.

    >>> message_of("{{function_node __wrapped__MatMul}} Matrix size-incompatible: [2,3], [4,5] [Op:MatMul]")
    'Matrix size-incompatible: [2,3], [4,5] [Op:MatMul]'
    """
    if "Graph execution error" in text:
        text = _DEFINED_AT.split(text)[-1]
    text = text.partition("Call arguments received by")[0].partition("\n\t [[")[0]
    lines = [
        line for line in (" ".join(_plain(line).split()) for line in text.splitlines()) if line
    ]
    while len(lines) > 1 and lines[0].startswith(
        ("Exception encountered when calling", "Graph execution error")
    ):
        del lines[0]
    whole = " ".join(lines)
    if len(whole) <= longest or not lines:
        return whole
    last = lines[-1]
    if len(last) <= longest:
        return last
    return f"{last[: longest // 2]} ... {last[-longest // 2 :]}"


def _plain(line: str) -> str:
    return _NODE.sub(r"\1", _FUNCTION_NODE.sub("", line)).removesuffix(" name: ")


def own_frame(err: BaseException) -> tuple[str, int, str] | None:
    """Return file, line number and line of the user's own code that an exception comes from: the
    innermost one; None if there is none.
    """
    if isinstance(err, SyntaxError) and err.filename and _is_own(err.filename):
        return err.filename, err.lineno or 1, (err.text or "").strip()
    frames = [
        (frame.filename, frame.lineno or 1) for frame in traceback.extract_tb(err.__traceback__)
    ]
    # AutoGraph's, in the message.
    frames += [(file, int(number)) for file, number in _FILE_LINE.findall(str(err))]
    for file, number in reversed(frames):
        if _is_own(file):
            return file, number, linecache.getline(file, number).strip()
    if err.__cause__ is not None:
        return own_frame(err.__cause__)
    return None


def calling_frame() -> str:
    """Return the line of the user's own code that is running, such as ` in narrow.py:12: `code``;
    empty if there is none.
    """
    for frame in reversed(traceback.extract_stack()):
        if _is_own(frame.filename):
            return f" in {_shown(frame.filename)}:{frame.lineno}: `{frame.line}`"
    return ""


def _is_own(file: str) -> bool:
    if file.startswith("<") or os.path.basename(file).startswith("__autograph_generated_file"):
        return False
    path = os.path.realpath(file)
    if any(path == place or path.startswith(f"{place}{os.sep}") for place in _own_places):
        return True
    installed = any(path.startswith(f"{folder}{os.sep}") for folder in _INSTALLED)
    return not installed and "site-packages" not in path.split(os.sep)


def _shown(file: str) -> str:
    """Return a file's path, from the current folder if it is below it."""
    path = Path(file)
    if path.is_relative_to(Path.cwd()):
        return str(path.relative_to(Path.cwd()))
    return file
