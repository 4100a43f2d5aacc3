"""Real servers that tests start for themselves: PostgreSQL, S3, Prefect. Each listens on 127.0.0.1 alone and ends with the tests."""

import ctypes
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

START_SECONDS = 300
_LIBC = ctypes.CDLL(None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(address: str) -> bool:
    """Whether an HTTP server answers there, whatever it says; the environment's proxy is not asked."""
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            address, timeout=5
        ).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def wait_for(
    what: str,
    found: Callable[[], Any],
    process: "subprocess.Popen[bytes]",
    log: Path,
    seconds: float = START_SECONDS,
) -> Any:
    """Return what `found` finds, when it does; the program must go on meanwhile."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit and process.poll() is None:
        try:
            if answer := found():
                return answer
        except OSError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"{what}: not seen; exit code {process.poll()}\n{log.read_text()}")


@contextmanager
def program(
    log: Path, *command: str, env: Mapping[str, str], cwd: Path, **options: Any
) -> "Iterator[subprocess.Popen[bytes]]":
    """A program in its own session, that ends with the tests, however they end."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            preexec_fn=lambda: _LIBC.prctl(1, signal.SIGKILL, 0, 0, 0),  # 1: PR_SET_PDEATHSIG
            **options,
        )
    try:
        yield process
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
                process.wait(20)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


@dataclass(frozen=True)
class Postgres:
    """A cluster with a database for each who asks. `start` and `stop` make it come and go; what is in it stays."""

    folder: Path
    port: int
    password: str
    account: dict[str, Any]

    def url(self, database: str, driver: str = "postgresql", password: bool = True) -> str:
        """The address of a database, which is made."""
        secret = f":{self.password}" if password else ""
        self._sql(f"CREATE DATABASE {database}")
        return f"{driver}://fedpipe{secret}@127.0.0.1:{self.port}/{database}"

    @contextmanager
    def running(self) -> "Iterator[subprocess.Popen[bytes]]":
        log = self.folder / "log"
        command = [
            _postgres_program("postgres") or "",
            "-D",
            str(self.folder / "data"),
            "-p",
            str(self.port),
        ]
        command += [
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "unix_socket_directories=",
            "-c",
            "fsync=off",
            "-c",
            "shared_buffers=16MB",
        ]
        with program(
            log,
            *command,
            env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
            cwd=self.folder,
            **self.account,
        ) as process:
            wait_for("PostgreSQL", self._ready, process, log)
            yield process
            process.send_signal(
                signal.SIGINT
            )  # ends its clients' connections, where SIGTERM waits for them
            process.wait(30)

    def _ready(self) -> bool:
        import psycopg2

        try:
            self._sql("SELECT 1")
        except psycopg2.OperationalError:  # it does not listen yet, or is still starting
            return False
        return True

    def _sql(self, text: str) -> None:
        import psycopg2

        connection = psycopg2.connect(
            host="127.0.0.1",
            port=self.port,
            user="fedpipe",
            password=self.password,
            dbname="postgres",
        )
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(text)
        finally:
            connection.close()


def why_no_postgres() -> str | None:
    """Return why PostgreSQL cannot be started here, None if it can."""
    missing = [name for name in ("initdb", "postgres") if _postgres_program(name) is None]
    return (
        f"PostgreSQL's {', '.join(missing)} not found: `apt-get install postgresql`"
        if missing
        else None
    )


@contextmanager
def postgres_cluster() -> Iterator[Postgres]:
    """A new cluster, stopped, of the user `fedpipe`; it never runs as root, which PostgreSQL refuses."""
    folder = Path(tempfile.mkdtemp(prefix="fedpipe-postgres-"))
    account: dict[str, Any] = {}
    if os.geteuid() == 0:
        names = {one.pw_name: one for one in pwd.getpwall()}
        one = names.get("postgres") or names["nobody"]
        account = {"user": one.pw_uid, "group": one.pw_gid, "extra_groups": []}
        os.chown(folder, one.pw_uid, one.pw_gid)
    try:
        password = f"planted-{secrets.token_hex(6)}"
        (folder / "password").write_text(password)
        command = [
            _postgres_program("initdb") or "",
            "-D",
            str(folder / "data"),
            "-U",
            "fedpipe",
            "-A",
            "scram-sha-256",
            "-E",
            "UTF8",
        ]
        command += ["--pwfile", str(folder / "password"), "--no-sync", "--locale=C"]
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
            check=False,
            **account,
        )
        assert done.returncode == 0, done.stderr
        yield Postgres(folder, free_port(), password, account)
    finally:
        shutil.rmtree(folder)


def _postgres_program(name: str) -> str | None:
    """Find a program of PostgreSQL on the PATH, or where Debian puts those that are not for everyone, the newest version first."""
    debian = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{name}"),
        key=lambda path: float(path.parts[-3]),
        reverse=True,
    )
    return shutil.which(name) or next(map(str, debian), None)


@dataclass(frozen=True)
class S3:
    """A running S3 server. `environment` is what programs need to use it."""

    url: str
    environment: dict[str, str]

    def client(self) -> Any:
        import boto3

        keys = {
            "aws_access_key_id": self.environment["AWS_ACCESS_KEY_ID"],
            "region_name": "us-east-1",
        }
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            **keys,
        )

    def bucket(self, name: str) -> str:
        self.client().create_bucket(Bucket=name)
        return name

    def keys(self, bucket: str) -> list[str]:
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [one["Key"] for page in pages for one in page.get("Contents", [])]


@contextmanager
def s3_server(folder: Path) -> Iterator[S3]:
    """moto's S3 as a process of its own; what it keeps is gone when it ends."""
    port, log = free_port(), folder / "s3.log"
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with program(log, *command, env=dict(os.environ), cwd=folder) as process:
        wait_for("S3", lambda: answers(f"{url}/moto-api/"), process, log)
        names = {
            "AWS_ACCESS_KEY_ID": "fedpipe-tests",
            "AWS_SECRET_ACCESS_KEY": f"planted-{secrets.token_hex(12)}",
            "AWS_DEFAULT_REGION": "us-east-1",
            "MLFLOW_S3_ENDPOINT_URL": url,
            "AWS_ENDPOINT_URL": url,
        }
        yield S3(url, names)


PAGE = "<!doctype html><html></html>"
PREFECT = {"/api/health": "true", "/api/admin/version": '"3.8.8"'}
MLFLOW = {"/health": "OK", "/version": "3.17.2"}


@contextmanager
def answering(answers: dict[str, str], rest: str | None) -> Iterator[str]:
    """Run a server that gives these answers by path, and `rest` (or 404) to everything else; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answers.get(self.path, rest)
            self.send_response(200 if body is not None else 404)
            self.end_headers()
            self.wfile.write((body or "").encode())

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
