"""What leaves a process without fedpipe's doing: log lines, tracebacks, exceptions of other packages."""

import subprocess
import sys

import pytest

from fedpipe.system.log_redaction import scrub, scrubbed

SCRIPT = """
import logging, sys
from fedpipe.system.log_redaction import watch_outlets
watch_outlets(); watch_outlets()
logging.basicConfig(level="INFO", format="%(message)s")
log = logging.getLogger("other.package")
log.info("reached %s with %d tries", "http://ann:planted-uri@host/x", 3)
log.info("%s of %s", "left", "alone")
log.warning("wrong arguments %d", "planted")
try:
    try:
        raise OSError("planted-word")
    except OSError as err:
        raise KeyError("http://ann:planted-uri@host") from err
except KeyError:
    log.exception("failed")
raise ValueError("planted-word at http://ann:planted-uri@host")
"""


def test_log_lines_and_tracebacks_are_without_secrets() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        env={"MY_PASSWORD": "planted-word"},
        timeout=60,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "reached http://ann:***@host/x with 3 tries" in said
    assert "left of alone" in said
    # Both tracebacks are whole otherwise: the lines of code that they quote are the script's own.
    assert said.count("Traceback") >= 3
    assert "ValueError: *** at http://ann:***@host" in said
    assert "OSError: ***\n" in said
    assert "planted-word\n" not in said


def test_a_scrubbed_exception_is_the_same_without_its_secrets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_TOKEN", "planted-word")
    cause = OSError(5, "planted-word")
    with pytest.raises(RuntimeError, match=r"^at \*\*\*$") as caught, scrubbed():
        raise RuntimeError("at planted-word") from cause
    assert caught.value.__cause__ is cause
    assert "planted-word" not in str(cause)
    looped = ValueError("planted-word")
    looped.__context__ = cause
    cause.__context__ = looped
    scrub(looped)
    assert str(looped) == "***"
