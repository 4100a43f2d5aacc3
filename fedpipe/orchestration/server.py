"""Prefect's temporary server, started while TensorFlow loads.

Where no Prefect API is configured, Prefect starts a server of its own at the first call and waits
for it: seven seconds of another process. Started here first, it boots while this process imports.
It is the same program with the same flags; it ends with this process, however that ends, and it
listens on 127.0.0.1 alone. Later runs of this process use it again.
"""

import atexit
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.request import getproxies_environment

from filelock import Timeout
from pydantic import SecretStr

from fedpipe.errors import EnvironmentProblem, program_error
from fedpipe.orchestration.database import choose_database
from fedpipe.system.lasting_thread import lasts
from fedpipe.system.locks import file_lock
from fedpipe.tracking.addresses import address_problem, why_no_prefect

if TYPE_CHECKING:
    from prefect.settings import Settings

_START_TIMEOUT_SECONDS = 120
_STOP_TIMEOUT_SECONDS = 5
_HURRY_SECONDS = 1
_PR_SET_PDEATHSIG = 1

# What a server for one run in this process never does: schedules, deployments, clean-up of others'
# runs. They take start-up time and write to the database meanwhile.
_SERVICES_NOT_NEEDED = (
    "CANCELLATION_CLEANUP",
    "CLEANUP_RECONCILER",
    "FOREMAN",
    "LATE_RUNS",
    "PAUSE_EXPIRATIONS",
    "REPOSSESSOR",
    "SCHEDULER",
    "TRIGGERS",
)

LOCAL_UI = "http://127.0.0.1:4200"


def _end_with_parent() -> None:
    """Have the kernel end this process when the thread that started it ends: the main thread, so
    the whole run.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class _FirstStart:
    """Lets one server at a time make the tables of Prefect's database, which all of a user's
    servers share: two at once fail.

    Held from the start of a server until it answers; afterwards, and for later versions that have
    been here, nobody waits.
    """

    def __init__(self, home: Path | None) -> None:
        from prefect import __version__

        self._stack = ExitStack()
        self._locked = False
        self._mark = home / f".fedpipe-tables-{__version__}" if home is not None else None
        # None: a database that the user named, whose own locks must do.
        if home is None or self._done(home):
            return
        with suppress(OSError, Timeout):  # a home that cannot be written: Prefect says so itself
            self._stack.enter_context(
                file_lock(home / ".fedpipe-tables.lock", _START_TIMEOUT_SECONDS)
            )
            self._locked = not self._done(home)
            if not self._locked:
                self._stack.close()

    def _done(self, home: Path) -> bool:
        return self._mark is not None and self._mark.exists() and (home / "prefect.db").exists()

    def over(self, done: bool) -> None:
        """Let others start; if `done`, they need not wait any more."""
        if self._locked and self._mark is not None:
            self._locked = False
            with suppress(OSError):
                if done:
                    self._mark.touch()
            self._stack.close()


class TemporaryServer:
    """A Prefect server process that is on its way."""

    def __init__(self, log_path: Path, own_folder: Path) -> None:
        """Start it; `wait` says when it answers.

        Args:
            log_path: file for its output.
            own_folder: folder for a database of its own, made if the user's cannot be used.
        """
        import prefect

        self._log_path = log_path
        self.database_settings = _database_settings(own_folder)
        self._client_settings: tuple[Settings, Settings] | None = None
        database = choose_database(*self.database_settings)
        self._first = _FirstStart(database.folder)
        self._port = _free_port()
        self.api_url = f"http://127.0.0.1:{self._port}/api"
        environment = os.environ | {
            "PREFECT_UI_ENABLED": "0",
            "PREFECT__SERVER_EPHEMERAL": "1",
            "PREFECT__SERVER_FINAL": "1",
        }
        environment |= {
            f"PREFECT_SERVER_SERVICES_{service}_ENABLED": "false"
            for service in _SERVICES_NOT_NEEDED
        }
        environment.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        environment |= database.variables
        environment["PYTHONSAFEPATH"] = (
            # no file of the user's is imported in the place of a module; -P is for this process
            # alone
            "1"
        )
        command = [
            sys.executable,
            "-P",
            "-m",
            "uvicorn",
            "--app-dir",
            str(Path(prefect.__file__).parent.parent),
        ]
        command += [
            "--factory",
            "prefect.server.api.server:create_app",
            "--host",
            "127.0.0.1",
            "--port",
            str(self._port),
        ]
        command += ["--log-level", "error", "--lifespan", "on"]
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=database.folder,
                preexec_fn=_end_with_parent,
                # a signal to our group (Ctrl-C, `timeout`) is ours to handle: the flow's end needs
                # the server
                start_new_session=True,
            )

    def client_settings(self, settings: "Settings") -> "Settings":
        """Return Prefect's settings of this process with what a client of the server needs.

        Made once, as Prefect takes 100 ms for it.
        """
        from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL

        if self._client_settings is None or self._client_settings[0] is not settings:
            updates: dict[Any, Any] = {
                PREFECT_API_URL: self.api_url,
                # Its pages are those that `prefect server start` shows of the same database.
                PREFECT_UI_URL: LOCAL_UI,
                # Nothing there looks for runs that crashed, and the thread that sends it ends up
                # to a second after its run.
                "flows.heartbeat_frequency": None,
            }
            self._client_settings = (settings, settings.copy_with_update(updates=updates))
        return self._client_settings[1]

    def alive(self) -> bool:
        """Return whether the server still runs."""
        return self._process.poll() is None

    def wait(self) -> None:
        """Return when the server answers. Raises EnvironmentProblem if it ends or does not answer
        in time.
        """
        limit = time.monotonic() + _START_TIMEOUT_SECONDS
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while time.monotonic() < limit and self._process.poll() is None:
            try:
                with opener.open(f"{self.api_url}/health", timeout=5):
                    self._first.over(done=True)
                    return
            except (URLError, OSError):
                time.sleep(0.05)
        self._first.over(done=False)
        code = self._process.poll()
        ended = (
            f"it did not answer within {_START_TIMEOUT_SECONDS} s"
            if code is None
            else f"it ended with exit code {code}"
        )
        reason = program_error(self._log_path.read_text(encoding="utf-8", errors="replace"), 300)
        raise EnvironmentProblem(
            "Prefect's temporary server did not start: "
            f"{ended}{f': {reason}' if reason else ' and gave no reason'}. Its log: "
            f"{self._log_path}. Set PREFECT_HOME to an empty folder to start with a new database, "
            "or PREFECT_API_URL to a server."
        )

    def close(self, hurry: bool = False) -> None:
        """End the server, once it has what Prefect's client still holds back; returns when it is
        gone.

        In a hurry it is killed, which its database survives: a terminated run has ten
        seconds for all of it.
        """
        # In a hurry, too: a later run of this process needs senders that know its own server.
        send_what_is_held_back(_HURRY_SECONDS if hurry else _STOP_TIMEOUT_SECONDS)
        self._first.over(done=False)
        if hurry:
            self._process.kill()
        else:
            self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def send_what_is_held_back(seconds: float) -> None:
    """Wait for the threads that send Prefect's events and log lines, at most so long for each.

    Task runs reach the server as events: without this the last of them would be lost.
    """
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for sender in (EventsWorker, APILogWorker):
        sender.drain_all(timeout=seconds)


@contextmanager
def prefect_api(log_path: Path, own_folder: Path) -> Iterator[TemporaryServer | None]:
    """Point Prefect at an API for the block: the configured one, or else a temporary server, which
    is given to wait for.

    `own_folder`: for a database of the temporary server's own, should it need one.

    Raises:
        EnvironmentProblem: the configured one does not answer.
    """
    from prefect.context import SettingsContext, get_settings_context
    from prefect.settings import PREFECT_API_URL

    url = PREFECT_API_URL.value()
    if url:
        require_server(url)
        try:
            yield None
        except BaseException as err:
            send_what_is_held_back(
                _STOP_TIMEOUT_SECONDS if isinstance(err, Exception) else _HURRY_SECONDS
            )
            raise
        return
    _reach_this_machine_directly()
    server = _shared_server(log_path, own_folder)
    context = get_settings_context()
    settings = server.client_settings(context.settings)
    try:
        with SettingsContext(profile=context.profile, settings=settings):
            yield server
    except BaseException as err:
        end_shared_server(hurry=not isinstance(err, Exception))
        raise
    if lasts(threading.current_thread()):
        send_what_is_held_back(_STOP_TIMEOUT_SECONDS)
    else:  # the kernel ends the server with the thread that started it
        end_shared_server()


_shared: TemporaryServer | None = None
"""The server of this process's runs, until the process ends or a run fails."""


def _shared_server(log_path: Path, own_folder: Path) -> TemporaryServer:
    """Return the server of an earlier run if it still runs on the same database, or a new one."""
    global _shared
    if _shared is not None:
        if _shared.alive() and _shared.database_settings == _database_settings(own_folder):
            return _shared
        end_shared_server()
    _shared = TemporaryServer(log_path, own_folder)
    return _shared


@atexit.register
def end_shared_server(hurry: bool = False) -> None:
    """End the server of this process's runs, if there is one; see `TemporaryServer.close`."""
    global _shared
    server = _shared
    _shared = None
    if server is not None:
        server.close(hurry)


def _database_settings(own_folder: Path) -> tuple[Path, str, Path]:
    """Return Prefect's home, the address of its database, and the folder for one of its own."""
    from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, PREFECT_HOME

    url = PREFECT_API_DATABASE_CONNECTION_URL.value()
    text = str(url.get_secret_value() if isinstance(url, SecretStr) else url)
    return Path(PREFECT_HOME.value()), text, own_folder


def require_server(url: str) -> None:
    """Ask the configured server whether it is there and Prefect's: now, and not after TensorFlow's
    import.

    Raises:
        EnvironmentProblem: it is not.
    """
    from prefect.client.base import ServerType
    from prefect.client.orchestration import get_client

    if problem := address_problem("PREFECT_API_URL", url, "http://127.0.0.1:4200/api"):
        raise EnvironmentProblem(problem)
    client = get_client(sync_client=True)
    reason: object = client.api_healthcheck()
    # A page of something else answers too.
    if reason is None and client.server_type is ServerType.SERVER:
        try:
            client.api_version()
        except Exception as err:
            reason = f"what answers is not Prefect's API ({type(err).__name__})"
    if reason is not None:
        raise EnvironmentProblem(why_no_prefect(url) or _not_there(url, reason))


def _not_there(url: str, reason: object) -> str:
    text = " ".join(str(reason).split()) or type(reason).__name__
    return (
        f"PREFECT_API_URL={url}: expected a Prefect server, but it does not answer: {text}. Start "
        "it with `uv run prefect server start`, or unset PREFECT_API_URL: `fedpipe run` then has "
        "a server of its own."
    )


def _reach_this_machine_directly() -> None:
    """Except 127.0.0.1 from the proxy that the environment names, if any: Prefect's clients would
    ask it for the temporary server.
    """
    proxies = getproxies_environment()
    if proxies:
        exceptions = [*filter(None, proxies.get("no", "").split(",")), "127.0.0.1"]
        os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(dict.fromkeys(exceptions))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
