"""Settings of the user's own against the arguments of the function that takes them."""

from pathlib import Path
from typing import Any, Literal

import pytest

from fedpipe.errors import ModelError
from fedpipe.system.user_options import OptionsReader, read_options


def build(
    shape: tuple[int, ...],
    classes: int,
    width: int,
    rate: float = 0.5,
    kind: Literal["wide", "deep"] = "wide",
    layers: tuple[int, ...] = (),
    file: Path | None = None,
    anything=None,  # type: ignore[no-untyped-def]
) -> None:
    """A function with options of several types."""


def two(_shape: Any, _classes: int) -> None:
    """A function that takes no options."""


def any_name(_shape: Any, _classes: int, **_rest: Any) -> None:
    """A function that takes all."""


def read(options: dict[str, Any], function: Any = build) -> dict[str, Any]:
    reader = OptionsReader("model.name=own:build", function, given=2)
    return read_options("model.options", options, [reader], ModelError)[0]


def test_options_come_in_the_types_of_their_annotations() -> None:
    options = {"width": 3, "rate": 1, "layers": [1, 2], "file": "a/b", "anything": {"x": [1]}}
    assert read(options) == {
        "width": 3,
        "rate": 1.0,
        "layers": (1, 2),
        "file": Path("a/b"),
        "anything": {"x": [1]},
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"widht": 3, "width": 1}, "model.options.widht: .* Did you mean 'width'?"),
        ({"width": 1, "zzz": 1}, "It takes width, rate, kind, layers, file, anything"),
        ({}, "model.name=own:build: expected its argument width in model.options, found none"),
        ({"width": 1.5}, "model.options.width=1.5: expected int, .* found float"),
        ({"width": True}, "model.options.width=True: expected int, .* found bool"),
        ({"width": "3"}, "expected int, .* found str"),
        ({"width": 1, "kind": "narrow"}, "'wide' or 'deep'"),
        ({"width": 1, "layers": [1, "a"]}, r"found list \(at 1\)"),
        ({"width": 1, "classes": 3}, "model.options.classes"),
    ],
)
def test_what_the_function_does_not_take_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        read(options)


def test_a_function_without_options_takes_none() -> None:
    with pytest.raises(ModelError, match=r"It takes no options; remove model\.options"):
        read({"width": 1}, two)


def test_keywords_take_any_name() -> None:
    assert read({"a": 1, "b": "x"}, any_name) == {"a": 1, "b": "x"}


def test_each_of_several_functions_gets_what_it_takes() -> None:
    def loss(outputs: Any, targets: Any, power: int = 2, scale: float = 1.0) -> None: ...
    def metric(outputs: Any, targets: Any, scale: float = 1.0) -> None: ...

    readers = [
        OptionsReader("task.loss=a:b", loss, 2),
        OptionsReader("task.metrics=a:c", metric, 2),
    ]
    given = {"power": 3, "scale": 2}
    assert read_options("task.options", given, readers, ModelError) == [
        {"power": 3, "scale": 2.0},
        {"scale": 2.0},
    ]
    with pytest.raises(ModelError, match=r"task\.loss=a:b or task\.metrics=a:c"):
        read_options("task.options", {"power": 3, "size": 1}, readers, ModelError)
