"""Errors of the user's own code: the last line of the exception first, then the user's own line; and how such code is imported."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fedpipe.errors import ConfigError, DataError
from fedpipe.system.user_code import describe_error, import_own, last_line, own_code

IN_USER_CODE = """in user code:

    File "/somewhere/narrow.py", line 20, in logits  *
        return tf.matmul(x, w)
    File "/x/site-packages/keras/src/utils/traceback_utils.py", line 70, in error_handler  **
        raise e.with_traceback(filtered_tb) from None

    ValueError: Dimensions must be equal, but are 2 and 3 for '{{node MatMul}} = MatMul[T=DT_FLOAT](x, ones)' with input shapes: [2,2].
"""
IN_A_GRAPH = """Graph execution error:

Detected at node MatMul defined at (most recent call last):
  File "/somewhere/narrow.py", line 27, in <module>

  File "/somewhere/narrow.py", line 26, in step

Matrix size-incompatible: In[0]: [2,3], In[1]: [4,5]
\t [[{{node MatMul}}]] [Op:__inference_step_95]"""
IN_A_GRAPH_WITH_NODE = IN_A_GRAPH.replace("in step\n\n", "in step\nNode: 'MatMul'\n")
IN_A_LAYER = """Exception encountered when calling layer 'dense' (type Dense).

{{function_node __wrapped__MatMul_device_/job:localhost/replica:0/task:0/device:CPU:0}} Matrix size-incompatible: [2,3], [4,5] [Op:MatMul]

Call arguments received by layer 'dense' (type Dense):
  - inputs=tf.Tensor(shape=(2, 3), dtype=float32)"""


class CallFailed(Exception):
    """As gRPC's error of a call, which has the worker's text apart."""

    def details(self) -> str:
        return "Failed to run computation: assertion failed: [the rate must be negative]\n\t [[{{node Assert}}]]"


PATHS = "/a/very/long/path.csv, " * 40


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that writes modules of a project by name, each once in all tests."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    monkeypatch.chdir(tmp_path)

    def write(**files: str) -> str:
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text)
        return next(iter(files))

    return write


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("no"), "ValueError: no"),
        (AssertionError(), "AssertionError without a message"),
        (ValueError("  \n "), "ValueError without a message"),
        (KeyError("label"), "KeyError: 'label'"),
        (ValueError("two\n  lines"), "ValueError: two lines"),
        (ValueError(f"{PATHS}\nthe column y is missing"), "ValueError: the column y is missing"),
        (
            ValueError(IN_USER_CODE),
            "ValueError: Dimensions must be equal, but are 2 and 3 for 'MatMul = MatMul[T=DT_FLOAT](x, ones)' with",
        ),
        (
            RuntimeError(IN_A_GRAPH),
            "RuntimeError: Matrix size-incompatible: In[0]: [2,3], In[1]: [4,5]",
        ),
        (
            RuntimeError(IN_A_GRAPH_WITH_NODE),
            "RuntimeError: Matrix size-incompatible: In[0]: [2,3], In[1]: [4,5]",
        ),
        (
            RuntimeError(IN_A_LAYER),
            "RuntimeError: Matrix size-incompatible: [2,3], [4,5] [Op:MatMul]",
        ),
        (
            CallFailed("a page of text"),
            "in the TFF worker: assertion failed: [the rate must be negative]",
        ),
        (SyntaxError("invalid syntax", ("x.py", 3, 1, "def f(:")), "SyntaxError: invalid syntax"),
    ],
)
def test_the_last_line_is_what_matters(error: Exception, line: str) -> None:
    assert last_line(error).startswith(line)
    assert len(last_line(error)) < 500


def test_neither_end_of_a_long_line_is_lost() -> None:
    said = last_line(ValueError(f"cannot read {PATHS}: the column y is missing"))
    assert said.startswith("ValueError: cannot read ")
    assert said.endswith(": the column y is missing")
    assert len(said) < 450


FAILING = """
def helper(x):
    return x["client"]

def build(*_):
    try:
        helper({})
    except KeyError as err:
        raise RuntimeError("cannot open it") from err

def deep(*_):
    import json
    return json.loads("{")
"""


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            "build",
            "data.source=failing:build: RuntimeError: cannot open it (from KeyError: 'client'), in failing.py:9: `raise RuntimeError("
            '"cannot open it") from err` (while opening; --debug shows all)',
        ),
        (
            "deep",
            'in failing.py:13: `return json.loads("{")` (while opening',
        ),  # and not a line of the standard library
    ],
)
def test_the_users_own_line_follows(
    module: Callable[..., str], tmp_path: Path, function: str, message: str
) -> None:
    where = f"{module(failing=FAILING)}:{function}"
    with pytest.raises(DataError) as caught, own_code(f"data.source={where}", DataError, "opening"):
        import_own(where, tmp_path, "data.source", DataError)()
    assert message in str(caught.value)
    assert caught.value.__cause__ is not None


def test_a_line_that_only_the_message_names_is_shown(
    module: Callable[..., str], tmp_path: Path
) -> None:
    module(narrow="\n" * 19 + "the_line = 20\n")
    assert describe_error(ValueError(IN_USER_CODE.replace("/somewhere", str(tmp_path)))).endswith(
        ", in narrow.py:20: `the_line = 20`"
    )


@pytest.mark.parametrize(
    ("files", "name", "message"),
    [
        (
            {"wrong": "def f(:\n    pass\n"},
            "wrong:f",
            "model.name=wrong:f: SyntaxError: invalid syntax, in wrong.py:1: `def f(:` (while importing",
        ),
        (
            {"wrong2": "x = 1\n  y = 2\n"},
            "wrong2:f",
            "IndentationError: unexpected indent, in wrong2.py:2: `y = 2`",
        ),
        (
            {"needs": "import nothing_like_it\n"},
            "needs:f",
            "No module named 'nothing_like_it', in needs.py:1: `import nothing_like_it` (while",
        ),
        (
            {"outer": "import inner\n", "inner": "1 / 0\n"},
            "outer:f",
            "ZeroDivisionError: division by zero, in inner.py:1: `1 / 0`",
        ),
        ({"slendr": ""}, "slender:f", "expected a module 'slender', found neither"),
        (
            {"slendr": ""},
            "slender:f",
            "slender.py nor an installed package; did you mean 'slendr'?",
        ),
        ({"slendr": ""}, "pack.inner:f", "expected a module 'pack', found neither"),
        (
            {"named": "def bulid(): pass\n"},
            "named:build",
            "expected a function 'build' in named.py, found none; did you mean 'bulid'?",
        ),
        (
            {"queue": "def build(): pass\n"},
            "queue:build",
            "the name queue is taken by a module of Python itself",
        ),
        (
            {"typo": "RATE = learning_rat * 2\n"},
            "typo:f",
            "NameError: name 'learning_rat' is not defined, in typo.py:1: `RATE =",
        ),
        (
            {"exits": "raise SystemError\n"},
            "exits:f",
            "SystemError without a message, in exits.py:1: `raise SystemError`",
        ),
    ],
)
def test_what_cannot_be_imported_is_one_line(
    module: Callable[..., str], tmp_path: Path, files: dict[str, str], name: str, message: str
) -> None:
    module(**files)
    with pytest.raises(ConfigError) as caught:
        import_own(name, tmp_path, "model.name", ConfigError)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"model.name={name}: ")
    assert "\n" not in str(caught.value)
