"""Settings of the user's own: `model.options` and its like, checked against the arguments of the
function that takes them.

    model.name: own.model:build        def build(feature_shape, num_classes, width: int = 64): ...
    model.options: {width: 128}   ->   build(feature_shape, num_classes, width=128)

What an option may be is said by the function: its name by the argument's, its type by the
annotation, whether it may be left out by the default.
"""

import inspect
import json
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fedpipe.errors import FedpipeError, did_you_mean, shorten


@dataclass(frozen=True)
class OptionsReader:
    """A function of the user's own, which takes options.

    Attributes:
        name: the setting that names it with its value, such as `model.name=own.model:build`.
        function: the function.
        given: number of positional arguments that fedpipe itself gives it; its other arguments are
            options.
    """

    name: str
    function: Callable[..., Any]
    given: int


def read_options(
    setting: str,
    options: Mapping[str, Any],
    readers: Sequence[OptionsReader],
    error: type[FedpipeError],
) -> list[dict[str, Any]]:
    """Return the keyword arguments of each function: of the options those that it has an argument
    for, in the type of the argument's annotation.

    Args:
        setting: the setting that holds the options, such as `model.options`.
        options: the options by name, as YAML has them.
        readers: the functions; an option has to be an argument of at least one of them.
        error: the class of the error.

    Raises:
        FedpipeError: of the class `error`: no function has such an argument, an argument without a
            default has no option, or a value is not of the annotation's type.

    Example:
        >>> def build(shape, classes, width: int = 64): ...
        >>> read_options("model.options", {"width": 8}, [OptionsReader("m", build, 2)], FedpipeError)
        [{'width': 8}]
    """
    arguments = [_arguments(reader) for reader in readers]
    known: list[str] = []
    for taken in arguments:
        known += [name for name in taken.named if name not in known]
    if not any(taken.takes_any for taken in arguments):
        for name in options:
            if name not in known:
                raise error(_unknown(setting, name, known, readers))
    return [
        _of_function(setting, options, reader, taken, error)
        for reader, taken in zip(readers, arguments, strict=True)
    ]


@dataclass(frozen=True)
class _Arguments:
    """The arguments of a function that are options, with their annotations."""

    named: Mapping[str, inspect.Parameter]
    annotations: Mapping[str, Any]
    takes_any: bool


def _arguments(reader: OptionsReader) -> _Arguments:
    try:
        signature = inspect.signature(reader.function)
    except (TypeError, ValueError):  # written in C, without a signature
        return _Arguments({}, {}, takes_any=True)
    try:
        target = reader.function
        if inspect.isclass(target):
            target = target.__init__
        annotations = typing.get_type_hints(target, include_extras=True)
    except Exception:  # an annotation that cannot be evaluated says nothing of types
        annotations = {}
    kinds = inspect.Parameter
    positional = (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)
    named: dict[str, inspect.Parameter] = {}
    takes_any = False
    place = 0
    for name, parameter in signature.parameters.items():
        if parameter.kind in positional:
            place += 1
            if place <= reader.given or parameter.kind is kinds.POSITIONAL_ONLY:
                continue
        if parameter.kind is kinds.VAR_KEYWORD:
            takes_any = True
        elif parameter.kind is not kinds.VAR_POSITIONAL:
            named[name] = parameter
    return _Arguments(named, annotations, takes_any)


def _unknown(
    setting: str, name: str, known: Sequence[str], readers: Sequence[OptionsReader]
) -> str:
    functions = " or ".join(reader.name for reader in readers)
    text = f"{setting}.{name}: expected an argument of {functions}, found none of this name."
    if not known:
        return f"{text} It takes no options; remove {setting}."
    return f"{text} {did_you_mean(name, known) or f'It takes {shorten(known, 8)}.'}"


def _of_function(
    setting: str,
    options: Mapping[str, Any],
    reader: OptionsReader,
    arguments: _Arguments,
    error: type[FedpipeError],
) -> dict[str, Any]:
    for name, parameter in arguments.named.items():
        if parameter.default is inspect.Parameter.empty and name not in options:
            raise error(
                f"{reader.name}: expected its argument {name} in {setting}, found none. Set "
                f"{setting}.{name}, or give the argument a default."
            )
    return {
        name: _converted(f"{setting}.{name}", value, arguments.annotations.get(name), error)
        for name, value in options.items()
        if arguments.takes_any or name in arguments.named
    }


def _converted(key: str, value: Any, annotation: Any, error: type[FedpipeError]) -> Any:
    """Return a value in the type of an annotation: a list as a tuple, a text as a path or a member
    of an Enum; a whole number where a float is asked for.
    """
    if annotation in (None, Any):
        return value
    try:
        adapter = TypeAdapter(annotation)
    except Exception:  # a type that pydantic does not know: the function judges
        return value
    try:
        return adapter.validate_json(json.dumps(value, default=str), strict=True)
    except ValidationError as err:
        problem = err.errors()[0]
        place = ".".join(str(part) for part in problem["loc"])
        inside = f" (at {place})" if place else ""
        message = problem["msg"][:1].lower() + problem["msg"][1:]
        kind = getattr(annotation, "__name__", None) or str(annotation)
        if typing.get_args(annotation):
            kind = str(annotation).replace("typing.", "")
        raise error(
            f"{key}={value}: expected {kind}, as the function's argument is annotated, found "
            f"{type(value).__name__}{inside}: {message}."
        ) from err
