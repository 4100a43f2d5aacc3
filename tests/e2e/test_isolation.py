"""One run with secrets planted wherever a user keeps them, under a strict umask, watched from outside: what it leaves, and to whom."""

import io
import os
import pickle  # to know one when we see it
import pickletools
import socket
import sqlite3
import stat
import subprocess
import threading
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

# One for each place, so that a failure says which one leaks.
PLANTED = {
    "MLFLOW_TRACKING_TOKEN": "planted-mlflow-token",
    "PREFECT_API_KEY": "planted-prefect-key",
    "PREFECT_API_AUTH_STRING": "admin:planted-auth-string",
    "AWS_SECRET_ACCESS_KEY": "planted-aws/secret+key",
    "HTTPS_PROXY": "http://ann:planted-proxy@127.0.0.1:9",
}
WORDS = [
    *(value.removeprefix("admin:") for name, value in PLANTED.items() if name != "HTTPS_PROXY"),
    *("planted-proxy", "planted-uri", "planted-name", "planted-remote"),
]


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


class Watch:
    """Looks at a user's processes while they run: who listens where, and what the TFF worker is given."""

    def __init__(self, home: Path) -> None:
        self.home, self.listening, self.worker_environments = (
            str(home),
            set[tuple[int, str]](),
            list[bytes](),
        )
        self.own_namespaces = set[bool]()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_on)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop.set()
        self._thread.join()

    def _look_on(self) -> None:
        while not self._stop.wait(0.3):
            for process in psutil.process_iter(["pid", "name", "environ"]):
                with suppress(psutil.Error, OSError):
                    self._look_at(process)

    def _look_at(self, process: psutil.Process) -> None:
        pid, name = process.pid, process.info["name"]
        if name == "worker_binary":
            # It has no HOME; its output is in the user's project.
            if self.home.removesuffix("/home") in os.readlink(f"/proc/{pid}/fd/1"):
                self.worker_environments.append(Path(f"/proc/{pid}/environ").read_bytes())
                self.own_namespaces.add(
                    os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
                )
        elif (process.info["environ"] or {}).get("HOME") == self.home:
            for one in process.net_connections("inet"):
                if one.status == psutil.CONN_LISTEN:
                    self.listening.add((one.laddr.port, one.laddr.ip))


def namespaces_allowed() -> bool:
    return (
        subprocess.run(["unshare", "-Urn", "true"], capture_output=True, check=False).returncode
        == 0
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def ui(user: Any, *options: str) -> Iterator[tuple[int, Path]]:
    """`fedpipe ui` in the user's project; gives its port and its log."""
    port, log = free_port(), user.home / "ui.log"
    environment = user.environment() | {
        name: value for name, value in PLANTED.items() if name != "HTTPS_PROXY"
    }
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["fedpipe", "ui", "--port", str(port), *options],
            env=environment,
            cwd=user.project,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    try:
        opener, limit = (
            urllib.request.build_opener(urllib.request.ProxyHandler({})),
            time.monotonic() + 120,
        )
        while True:
            with suppress(OSError), opener.open(f"http://127.0.0.1:{port}/health", timeout=5):
                break
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < limit, log.read_text()
            time.sleep(0.2)
        yield port, log
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="module")
def planted(make_user: Any) -> tuple[Any, Watch, dict[str, Any]]:
    """Someone whose secrets are everywhere, after a run through a server; what was seen meanwhile, and the run's summary."""
    with umask(0o077):
        user = make_user()
        user.run(
            "git", "remote", "add", "origin", "https://ann:planted-remote@127.0.0.1:9/project.git"
        )
        with Watch(user.home) as watch, ui(user) as (port, _):
            summary = user.train(
                *("--name", "http://ann:planted-name@host/first", "-S", "rounds=2"),
                **PLANTED,
                NO_PROXY="127.0.0.1",
                MLFLOW_TRACKING_URI=f"http://ann:planted-uri@127.0.0.1:{port}",
                PREFECT_RESULTS_PERSIST_BY_DEFAULT="true",
            )
    return user, watch, summary


def files_of(user: Any) -> Iterator[Path]:
    """All that is below the user's project and home."""
    for root in (user.project, user.home):
        yield from (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def texts_of(path: Path) -> Iterator[bytes]:
    """A file's bytes; of a database also its rows, which may lie in pieces on several pages."""
    body = path.read_bytes()
    yield body
    if body.startswith(b"SQLite format 3\0"):
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            yield "\n".join(connection.iterdump()).encode()


def leaks(user: Any) -> list[str]:
    """Which planted word is in which file, other than where it was planted."""
    others = [path for path in files_of(user) if path != user.project / ".git" / "config"]
    return sorted(
        {
            f"{path}: {word}"
            for path in others
            for text in texts_of(path)
            for word in WORDS
            if word.encode() in text
        }
    )


def test_no_secret_is_in_anything_that_a_run_leaves(planted: Any) -> None:
    user, _, summary = planted
    assert leaks(user) == []
    assert not any(word in str(summary) for word in WORDS)
    # The run is in the server's store, and in Prefect's, under a name without its password.
    with closing(sqlite3.connect(user.project / "mlflow.db")) as store:
        assert store.execute("select name, status from runs").fetchall() == [
            ("http://ann:***@host/first", "FINISHED")
        ]
    with closing(sqlite3.connect(user.home / ".prefect" / "prefect.db")) as store:
        assert store.execute("select name, state_type from flow_run").fetchall() == [
            ("http://ann:***@host/first", "COMPLETED")
        ]
    assert Path(summary["run_dir"]).parent == user.project / ".fedpipe" / "runs"


def test_the_search_for_secrets_finds_one(planted: Any) -> None:
    user, _, _ = planted
    left = user.home / "left.db"
    with closing(sqlite3.connect(left)) as connection, connection:
        connection.execute("create table t (x text)")
        connection.execute("insert into t values (?)", ("y" * 5000 + "planted-uri",))
    try:
        assert leaks(user) == [f"{left}: planted-uri"]
    finally:
        left.unlink()


def test_the_worker_is_given_no_secret_and_its_own_network(planted: Any) -> None:
    _, watch, _ = planted
    assert watch.worker_environments
    for environment in watch.worker_environments:
        assert b"planted" not in environment
        assert {line.partition(b"=")[0].decode() for line in environment.split(b"\0") if line} <= {
            "PATH",
            "LC_CTYPE",  # Python's own, in the supervisor
            "LD_LIBRARY_PATH",
            "TF_CPP_MIN_LOG_LEVEL",
            "TF_NUM_INTRAOP_THREADS",
            "TF_ENABLE_ONEDNN_OPTS",
        }
    assert watch.own_namespaces == {namespaces_allowed()}


def test_all_that_is_served_is_for_this_machine_alone(planted: Any) -> None:
    """`fedpipe ui` and Prefect's temporary server; the TFF worker has its own network."""
    _, watch, _ = planted
    assert len({port for port, _ in watch.listening}) >= 2
    assert {address for _, address in watch.listening} == {"127.0.0.1"}


def wrong_modes(user: Any, mask: int) -> list[str]:
    """What is not as the umask says, below the project and in Prefect's home, of what was not in the clone before.

    DVC's cache is read-only on purpose, git makes its objects so too. Prefect's home is one user's: there nothing may be wider than the
    umask, but SQLite's databases are 0644 at most, and Prefect keeps some files to their owner.
    """
    wrong, cloned = (
        [],
        {user.project / name for name in user.run("git", "ls-files").stdout.splitlines()},
    )
    for root in (user.project, user.home / ".prefect"):
        for path in root.rglob("*"):
            inside = path.relative_to(root).parts
            if (
                path in cloned
                or path.is_symlink()
                or inside[0] == ".git"
                or inside[:2] == (".dvc", "cache")
                or not path.exists()
            ):
                continue
            mode = stat.S_IMODE(path.stat().st_mode)
            expected = (0o777 if path.is_dir() or mode & 0o111 else 0o666) & ~mask
            if mode != expected and not (root == user.home / ".prefect" and mode & ~expected == 0):
                wrong.append(f"{path}: {mode:04o}, expected {expected:04o}")
    return wrong


def test_what_a_run_leaves_has_the_modes_of_the_umask(planted: Any) -> None:
    assert wrong_modes(planted[0], 0o077) == []


def is_pickle(body: bytes) -> bool:
    if not (len(body) > 2 and body[0] == 0x80 and body[1] in (2, 3, 4, 5)):
        return False
    try:
        return any(opcode.name == "STOP" for opcode, _, _ in pickletools.genops(body))
    except ValueError:
        return False


def pickles(path: Path) -> list[str]:
    """Return what in a file is a pickle: the file, a member of an archive, a value of a database."""
    body = path.read_bytes()
    named = (
        [str(path)]
        if path.suffix in (".pkl", ".pickle", ".joblib", ".dill") or is_pickle(body)
        else []
    )
    if zipfile.is_zipfile(io.BytesIO(body)):
        with zipfile.ZipFile(path) as archive:
            named += [
                f"{path}!{name}"
                for name in archive.namelist()
                if name.endswith(".pkl") or is_pickle(archive.read(name))
            ]
    if body.startswith(b"SQLite format 3\0"):
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            for (table,) in connection.execute(
                "select name from sqlite_master where type = 'table'"
            ).fetchall():
                rows = connection.execute(f'select * from "{table}"')  # noqa: S608 - the name is the database's own
                named += [
                    f"{path}!{table}"
                    for row in rows
                    for value in row
                    if isinstance(value, bytes) and is_pickle(value)
                ]
    return named


def test_no_pickle_is_in_anything_that_a_run_leaves(planted: Any) -> None:
    assert [one for path in files_of(planted[0]) for one in pickles(path)] == []


def test_the_search_for_pickles_finds_each(tmp_path: Path) -> None:
    body = pickle.dumps({"a": 1})
    (tmp_path / "plain").write_bytes(body)
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.writestr("data.bin", body)
    with closing(sqlite3.connect(tmp_path / "db")) as connection, connection:
        connection.execute("create table t (x blob)")
        connection.execute("insert into t values (?)", (body,))
    (tmp_path / "model.pkl").write_bytes(b"")
    (tmp_path / "text").write_text("no pickle")
    assert sorted(Path(one).name for path in tmp_path.iterdir() for one in pickles(path)) == [
        "db!t",
        "model.pkl",
        "plain",
        "zip!data.bin",
    ]


SECRETS_IN_COMMANDS = [
    (
        ("-S", "data.path=s3://ann:planted-uri@host/data.csv"),
        "'data.path': expected a setting without a password or token, found s3://ann:***@host",
    ),
    (
        ("-S", "tracking.uri=http://ann:planted-uri@host"),
        "-S tracking.uri=http://ann:***@host: unknown key",
    ),
    (
        ("-S", "tracking.experiment=planted-mlflow-token"),
        "expected a setting without a password or token, found ***. Settings",
    ),
    (("-S", "rounds=http://ann:planted-uri@host"), "found 'http://ann:***@host'"),
    (("--params", "http://ann:planted-uri@host/params.yaml"), "no such params file"),
    (("http://ann:planted-uri@host",), "http://ann:***@host"),
]


@pytest.mark.parametrize(("options", "words"), SECRETS_IN_COMMANDS)
def test_an_error_shows_no_secret(planted: Any, options: tuple[str, ...], words: str) -> None:
    """With --debug, which shows the same line and all that led to it."""
    user, _, _ = planted
    done = user.run(
        "fedpipe",
        "run",
        *options,
        "--debug",
        code=1 if options[0].startswith("-") else 2,
        **PLANTED,
    )
    assert words in done.stderr
    assert "planted" not in done.stderr + done.stdout


def test_a_server_that_is_away_shows_no_secret(planted: Any) -> None:
    user, _, _ = planted
    address = "http://ann:planted-uri@127.0.0.1:9/api"
    done = user.run(
        "fedpipe",
        "run",
        "--debug",
        code=1,
        **(PLANTED | {"PREFECT_API_URL": address, "NO_PROXY": "127.0.0.1"}),
    )
    assert (
        "PREFECT_API_URL=http://ann:***@127.0.0.1:9/api: expected a Prefect server" in done.stderr
    )
    assert "planted" not in done.stderr + done.stdout
    assert leaks(user) == []


@pytest.mark.slow
@pytest.mark.parametrize("debug", [False, True])
def test_a_store_that_is_away_shows_no_secret(planted: Any, debug: bool) -> None:
    user, _, _ = planted
    more = {
        "MLFLOW_TRACKING_URI": "http://ann:planted-uri@127.0.0.1:9",
        "NO_PROXY": "127.0.0.1",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    }
    done = user.run(
        "fedpipe",
        "run",
        *(["--debug"] if debug else []),
        code=1 if debug else 2,
        **(PLANTED | more),
    )
    assert "http://ann:***@127.0.0.1:9: cannot reach the store" in done.stderr
    assert "planted" not in done.stderr + done.stdout
    assert leaks(user) == []


@pytest.mark.slow
def test_a_group_that_shares_a_project_can(make_user: Any) -> None:
    """Under umask 002 all of it can be written by the group."""
    with umask(0o002):
        user = make_user()
        user.train("-S", "rounds=1")
        user.run("dvc", "repro", "--quiet")
    assert wrong_modes(user, 0o002) == []


@pytest.mark.slow
def test_the_ui_for_other_machines_says_what_that_means(user: Any) -> None:
    with Watch(user.home) as watch, ui(user, "--host", "0.0.0.0") as (port, log):  # noqa: S104 - this is what is tested
        time.sleep(1)
        said = " ".join(log.read_text().split())
        assert (
            f"--host 0.0.0.0: everybody who reaches port {port} there can read, change and delete all runs, without a password"
            in said
        )
    assert "0.0.0.0" in {address for _, address in watch.listening}  # noqa: S104


@pytest.mark.slow
@pytest.mark.skipif(not namespaces_allowed(), reason="this kernel allows no user namespaces")
def test_a_run_where_the_kernel_allows_no_isolation(user: Any) -> None:
    """`required` refuses with one line, `auto` says it once and goes on."""
    without = [
        "unshare",
        "-Ur",
        "sh",
        "-c",
        'echo 0 > /proc/sys/user/max_net_namespaces && exec "$@"',
        "sh",
    ]
    refused = user.run(
        *without, "fedpipe", "run", "-S", "rounds=1", "-S", "runtime.isolation=required", code=2
    )
    assert (
        "fedpipe: runtime.isolation=required: the kernel refuses a network namespace for the TFF worker"
        in refused.stderr.splitlines()[-1]
    )
    done = user.run(*without, "fedpipe", "run", "--json", "-S", "rounds=2")
    assert done.stderr.count("the TFF worker is not isolated") == 1
