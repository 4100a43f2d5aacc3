"""`docs/python.md` is one session: its blocks run from top to bottom in a fresh clone, and show what they say."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```pycon\n(.*?)^```", re.MULTILINE | re.DOTALL)
SESSION = """
import doctest, sys
from pathlib import Path
text = Path(sys.argv[1]).read_text(encoding="utf-8")
session = doctest.DocTestParser().get_doctest(text, {}, "python.md", None, None)
options = doctest.ELLIPSIS
result = doctest.DocTestRunner(optionflags=options).run(session)
sys.exit(0 if result.failed == 0 and result.attempted >= 20 else 1)
"""


@pytest.mark.timeout(600)
def test_the_page_is_a_session(tmp_path: Path, clone: Callable[..., Path]) -> None:
    project = clone(tmp_path / "project")
    blocks = BLOCK.findall((ROOT / "docs" / "python.md").read_text(encoding="utf-8"))
    (tmp_path / "session.txt").write_text("\n".join(blocks), encoding="utf-8")
    with (tmp_path / "output").open("w") as output:
        done = subprocess.run(
            [sys.executable, "-P", "-c", SESSION, str(tmp_path / "session.txt")],
            cwd=project,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            timeout=580,
            check=False,
        )
    assert done.returncode == 0, (tmp_path / "output").read_text()[-5000:]
