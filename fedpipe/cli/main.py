"""The entry point: the commands, and how an error ends a program."""

import atexit
import contextlib
import errno
import logging
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer
from typer.models import CommandInfo, TyperInfo

from fedpipe import __version__
from fedpipe.cli import (
    cache,
    clean,
    data,
    doctor,
    init,
    lineage,
    models,
    pipeline,
    report,
    resume,
    run,
    runs,
    serve,
    store,
    study,
    sweep,
    worker,
)
from fedpipe.cli.interrupted import INTERRUPTED, TERMINATED
from fedpipe.errors import FedpipeError, did_you_mean
from fedpipe.project.paths import find_project
from fedpipe.redact import hide
from fedpipe.system.home import ensure_home
from fedpipe.system.log_redaction import watch_outlets
from fedpipe.system.log_warnings import warnings_handler
from fedpipe.system.open_files import open_files_problem, raise_open_files_limit
from fedpipe.system.user_code import describe_error, own_frame

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
"""What the kernel says when a file system or a user's share of it is full."""

_NOT_WRITTEN = 120
"""Python's own exit code where the last of the output could not be written."""

PANELS = {
    "Project": ("init", "doctor", "clean"),
    "Train": ("run", "resume", "record", "sweep", "study"),
    "Data": ("sources", "describe", "forget", "cache"),
    "Models": ("predict", "export"),
    "Lineage": ("ui", "runs", "report", "lineage", "reproduce"),
    "Team": ("sync", "store", "serve", "pool", "worker"),
    "DVC stages": ("prepare", "train", "evaluate"),
}
"""The commands below each heading of `fedpipe --help`, in the order in which they are shown."""

app = typer.Typer(
    name="fedpipe",
    help="Federated learning runs that can be trusted, compared and repeated.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
run.register(app)
pipeline.register(app)
resume.register(app)
runs.register(app)
serve.register(app)
cache.register(app)
clean.register(app)
data.register(app)
lineage.register(app)
models.register(app)
sweep.register(app)
study.register(app)
store.register(app)
report.register(app)
doctor.register(app)
init.register(app)
worker.register(app)


def _registered() -> list[CommandInfo | TyperInfo]:
    """Return all commands and groups of commands."""
    return [*app.registered_commands, *app.registered_groups]


def _name_of(command: CommandInfo | TyperInfo) -> str:
    """Return what users type for a registered command or group of commands."""
    return str(command.name or getattr(command.callback, "__name__", "")).replace("_", "-")


def _arrange() -> None:
    """Put each command below its heading, in the order of `PANELS`."""
    panel_of = {name: panel for panel, names in PANELS.items() for name in names}
    order = [*panel_of, "sweep-child"]
    app.registered_commands.sort(key=lambda command: order.index(_name_of(command)))
    for command in _registered():
        command.rich_help_panel = panel_of.get(_name_of(command))


_arrange()


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"fedpipe {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show a traceback with an error; may stand anywhere.")
    ] = False,
) -> None:
    """Federated learning runs that can be trusted, compared and repeated."""


def main() -> NoReturn:
    """Run the command in `sys.argv` and exit: 0, 2 for bad input, 1 for a defect, 3 for a run
    without some of its parts, 130 and 143 for an interrupt.

    An error that a user can fix is one line on stderr, with no traceback unless `--debug` is
    given.
    """
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    # TensorFlow's old wrapt cannot save dicts and tuples with a newer typing-extensions; it reads
    # this when it is imported.
    os.environ.setdefault("WRAPT_DISABLE_EXTENSIONS", "1")
    # 3: TensorFlow's CPU build reports missing CUDA plug-ins as errors.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    watch_outlets()
    raise_open_files_limit()
    ensure_home(_private_folder())
    _show_warnings(debug)
    signal.signal(signal.SIGTERM, _terminated)
    teardown = _Teardown()
    try:
        code = app(args=arguments, prog_name="fedpipe", standalone_mode=False)
        if code == INTERRUPTED:  # typer's answer to Ctrl-C
            _say("interrupted", code)
    except typer.Exit as err:
        code = err.exit_code
    except typer.exceptions.TyperException as err:
        text = err.format_message().rstrip(".")
        text += " See `fedpipe --help`." if text.endswith("?") else f". {_hint(arguments)}"
        code = _say(text, err.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = _say("interrupted", INTERRUPTED)
    except SystemExit as err:
        if err.code != TERMINATED:
            raise
        code = _say("terminated (SIGTERM)", TERMINATED)
    except FedpipeError as err:
        if debug:
            watch_outlets()  # typer puts its own hook in the place of ours
            raise
        code = _say(open_files_problem(err) or " ".join(str(err).split()), err.exit_code)
    except Exception as err:
        if debug:
            watch_outlets()  # typer puts its own hook in the place of ours
            raise
        if problem := open_files_problem(err):
            code = _say(problem, 2)
        elif isinstance(err, OSError) and err.errno in _NO_ROOM:
            code = _say(
                f"{err.filename or 'a file'}: {err.strerror}. Free some disk space, then run "
                "`fedpipe resume`.",
                2,
            )
        elif own_frame(err) is not None:
            code = _say(f"{describe_error(err)} (--debug shows all)", 2)
        else:
            code = _say(
                f"{type(err).__name__}: {' '.join(str(err).split())} (a defect of fedpipe? "
                "--debug shows where)",
                1,
            )
    if not isinstance(code, int) or code == 0:
        teardown.skip = True
        sys.exit(0)
    _leave(code)


def _private_folder() -> Path | None:
    """Return the project's folder for fedpipe's own files, None outside of a project."""
    try:
        return find_project(Path.cwd()).private
    except (FedpipeError, OSError):
        return None


def _hint(arguments: list[str]) -> str:
    """Return what helps with a command line that cannot be read: the command that was meant, or
    where help is.
    """
    commands = {_name_of(command) for command in _registered()}
    typed = next((argument for argument in arguments if not argument.startswith("-")), "")
    if typed in commands:
        return f"See `fedpipe {typed} --help`."
    meant = did_you_mean(typed, commands - {"sweep-child"}) if typed else ""
    return f"{meant} See `fedpipe --help`.".strip()


class _Teardown:
    """Python's taking apart of all modules at the end, which with TensorFlow takes a second and
    is for nothing: the process is gone afterwards.

    Made before the libraries are imported, so that what they do at exit is done before.
    """

    def __init__(self) -> None:
        """Do not skip it, unless told to."""
        self.skip = False
        atexit.register(self._end)

    def _end(self) -> None:
        if self.skip and not hasattr(sys, "last_type"):  # an exception of a caller of `main`
            logging.shutdown()
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            except OSError:  # a full disk, or a reader that is gone
                os._exit(_NOT_WRITTEN)
            os._exit(0)


def _leave(code: int) -> NoReturn:
    """End the process now. All that a run holds is closed; Python would wait for threads of
    libraries that are still sending, and some libraries' objects complain when they are taken down
    after an error.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    _remove_generated_code()
    prefect = sys.modules.get("fedpipe.orchestration.server")
    if prefect is not None:  # of a run without some of its parts
        try:
            prefect.end_shared_server()
        finally:
            os._exit(code)
    os._exit(code)


def _remove_generated_code() -> None:
    """Remove the sources that TensorFlow's AutoGraph wrote to the folder of temporary files; else
    it does so when Python ends.
    """
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if name.startswith("__autograph_generated_file") and path:
            with contextlib.suppress(OSError):
                os.unlink(path)


def _show_warnings(debug: bool) -> None:
    logging.basicConfig(handlers=[warnings_handler(debug)])


def _say(message: str, code: int) -> int:
    print(f"fedpipe: {hide(message)}", file=sys.stderr)
    return code


# the signature of a handler
def _terminated(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    raise SystemExit(128 + number)
