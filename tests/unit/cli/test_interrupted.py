"""Ctrl-C and SIGTERM name the command that continues."""

import sys

import pytest

from fedpipe.cli.interrupted import again, stoppable
from fedpipe.errors import StoppedError


def test_ctrl_c_says_how_to_continue_and_exits_with_130() -> None:
    def run() -> None:
        with stoppable("Nothing was trained.") as step:
            step.resume("my run")
            raise KeyboardInterrupt

    with pytest.raises(StoppedError) as err:
        run()
    assert (str(err.value), err.value.exit_code) == (
        "interrupted. Continue with: fedpipe resume 'my run'",
        130,
    )


def test_before_a_run_has_begun_there_is_nothing_to_resume() -> None:
    with (
        pytest.raises(StoppedError, match=r"^interrupted\. Nothing was trained\.$"),
        stoppable("Nothing was trained."),
    ):
        raise KeyboardInterrupt


def test_sigterm_exits_with_143_and_other_exits_pass() -> None:
    with pytest.raises(StoppedError) as err, stoppable("Continue with: fedpipe sweep"):
        raise SystemExit(143)
    assert (str(err.value), err.value.exit_code) == (
        "terminated (SIGTERM). Continue with: fedpipe sweep",
        143,
    )
    with pytest.raises(SystemExit), stoppable("x"):
        raise SystemExit(3)


def test_the_command_is_quoted_for_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/bin/fedpipe", "sweep", "my sweep.yaml"])
    assert again() == "fedpipe sweep 'my sweep.yaml'"
