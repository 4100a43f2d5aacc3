"""Code of the user's own that cannot be imported: the last line of the exception and the user's own line."""

import sys
from pathlib import Path

import pytest

from fedpipe.errors import ConfigError
from fedpipe.steps.early import import_own


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("mine", "helper"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def refused(tmp_path: Path, text: str, function: str = "build") -> str:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(ConfigError) as err:
        import_own("algorithm.name", f"mine:{function}", tmp_path)
    sys.modules.pop("mine", None)
    return str(err.value)


def test_a_name_error_is_said_with_its_line(tmp_path: Path) -> None:
    message = refused(tmp_path, "import math\n\nRATE = learning_rat * 2\n")
    assert "algorithm.name=mine:build: cannot import mine: NameError: name 'learning_rat' is not defined" in message
    assert f"{tmp_path}/mine.py, line 3: `RATE = learning_rat * 2`" in message


def test_the_users_own_frame_is_named_not_the_librarys(tmp_path: Path) -> None:
    message = refused(tmp_path, "import json\n\nSETTINGS = json.loads('{')\n")
    assert "JSONDecodeError" in message
    assert f"{tmp_path}/mine.py, line 3" in message


def test_a_syntax_error_is_said_with_its_line(tmp_path: Path) -> None:
    assert f"{tmp_path}/mine.py, line 2: SyntaxError" in refused(tmp_path, "x = 1\ndef build(:\n")


def test_a_function_that_is_not_there_is_compared_with_those_that_are(tmp_path: Path) -> None:
    message = refused(tmp_path, "def build_mine(run): ...\n", function="buildmine")
    assert "has no 'buildmine'. Did you mean 'build_mine'?" in message


def test_a_module_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model.name=helper:build: cannot import helper: there is no module 'helper' in"):
        import_own("model.name", "helper:build", tmp_path)
    assert "there is no module 'nowhere_at_all'" in refused(tmp_path, "import nowhere_at_all\n")
