"""Who is let in to a worker, and what is compared before a run begins. No TFF worker computes here."""

import datetime
import shutil
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedpipe.cluster import certificates as certs
from fedpipe.engine.remote import control
from fedpipe.engine.remote import host_facts as facts
from fedpipe.engine.remote.control import Control, WorkerRefusedError, WorkerUnreachableError
from fedpipe.engine.remote.machine import Machine, RemoteRun
from fedpipe.engine.remote.tls import client_context
from fedpipe.errors import EnvironmentProblem, WorkerError


@pytest.fixture(scope="module")
def worker(start: Any) -> Any:
    return start()


@pytest.fixture
def machine(certificates: Path) -> Callable[..., Machine]:
    def make(address: str, folder: Path = certificates, md5: str | None = None) -> Machine:
        return Machine(address, RemoteRun("a test", folder, md5, start_seconds=60, data_seconds=60))

    return make


def open_context(ca: Path) -> ssl.SSLContext:
    """Return a context that knows the worker's CA and has no certificate."""
    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols(["http/1.1"])
    return context


def test_no_certificate_is_refused(worker: Any, certificates: Path) -> None:
    with pytest.raises(
        WorkerRefusedError, match=r"it got no certificate from here .* Copy runtime\.certs anew"
    ):
        Control(worker.address, open_context(certificates / "ca.pem"), 10).ask("GET", "/hello")


def test_a_certificate_of_another_ca_is_refused(
    worker: Any, certificates: Path, tmp_path: Path
) -> None:
    certs.make_certificates(tmp_path / "other", [], days=1)
    with pytest.raises(
        WorkerRefusedError, match=r"its certificate is not taken here \(.*\)"
    ):  # each side refuses the other
        Control(worker.address, client_context(tmp_path / "other"), 10).ask("GET", "/hello")
    context = open_context(certificates / "ca.pem")
    context.load_cert_chain(
        tmp_path / "other" / "runner.pem", tmp_path / "other" / "runner-key.pem"
    )
    with pytest.raises(WorkerRefusedError, match="it does not know the CA of the certificate here"):
        Control(worker.address, context, 10).ask("GET", "/hello")


def test_a_workers_certificate_is_no_runners(worker: Any, certificates: Path) -> None:
    context = open_context(certificates / "ca.pem")
    context.load_cert_chain(certificates / "worker.pem", certificates / "worker-key.pem")
    with pytest.raises(WorkerRefusedError, match=r"(?i)unsupported|purpose"):
        Control(worker.address, context, 10).ask("GET", "/hello")


def test_an_expired_certificate_is_refused_on_both_sides(
    worker: Any, certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certs, "_EARLIER", datetime.timedelta(days=2))  # valid until a day ago
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    ca = x509.load_pem_x509_certificate((certificates / "ca.pem").read_bytes())
    ca_key = load_pem_private_key((certificates / "ca-key.pem").read_bytes(), None)
    usage = x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH])
    key, certificate = certs._signed("late", -1, ca_key, ca, [(usage, False)])
    shutil.copytree(certificates, tmp_path / "late")
    (tmp_path / "late" / "runner.pem").write_bytes(certs._pem(certificate))
    (tmp_path / "late" / "runner-key.pem").write_bytes(certs._secret(key))
    with pytest.raises(
        EnvironmentProblem,
        match=r"runner\.pem: expected a certificate that is valid now, found one from",
    ):
        client_context(tmp_path / "late")
    context = open_context(certificates / "ca.pem")
    context.load_cert_chain(tmp_path / "late" / "runner.pem", tmp_path / "late" / "runner-key.pem")
    with pytest.raises(WorkerRefusedError, match="the certificate of this machine has expired"):
        Control(worker.address, context, 10).ask("GET", "/hello")


def test_nothing_is_said_without_tls(worker: Any) -> None:
    host, _, port = worker.address.partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as plain:
        plain.sendall(b"GET /hello HTTP/1.1\r\n\r\n")
        assert b"fedpipe" not in plain.recv(1000)  # an alert of TLS, or nothing


def test_grpc_without_a_session_is_closed(worker: Any, certificates: Path) -> None:
    context = client_context(certificates)
    context.set_alpn_protocols(["h2"])
    host, _, port = worker.address.partition(":")
    with (
        socket.create_connection((host, int(port)), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        assert secure.selected_alpn_protocol() == "h2"
        assert secure.recv(1) == b""


def test_a_second_run_is_refused_until_the_first_is_over(worker: Any, machine: Any) -> None:
    first, second = machine(worker.address), machine(worker.address)
    first.connect()
    with pytest.raises(
        WorkerRefusedError,
        match=r"this one is used by run a test of .*, process \d+\. Wait for its end",
    ):
        second.connect()
    back = Machine(
        worker.address, first._run
    )  # the run itself is let in again, before the worker has seen the end of its connection
    back.connect()
    assert back.here
    back.drop("over")
    first.drop("over")
    for _ in range(100):
        try:
            second.connect()
            break
        except WorkerRefusedError:  # its side has not seen the end yet
            continue
    assert second.here
    second.drop("over")


def test_other_versions_are_named_with_both_sides(
    worker: Any, machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "fedpipe.engine.remote.machine.facts",
        lambda: facts.facts() | {"fedpipe": "9.9", "tensorflow": "1.0"},
    )
    with pytest.raises(
        WorkerRefusedError,
        match=r"expected the same versions, found fedpipe 9\.9 here, .* there; tensorflow 1\.0 here, 2\.14\.1 there",
    ):
        machine(worker.address).connect()


def test_other_data_are_named_with_both_md5s(worker: Any, machine: Any) -> None:
    with pytest.raises(
        WorkerRefusedError,
        match=r"data: expected md5 0123\.dir, the run's; found [0-9a-f]{32}\.dir in data/shards, and dvc\.lock names none",
    ):
        machine(worker.address, md5="0123.dir").connect()


def test_a_name_that_the_certificate_does_not_have_is_refused(start: Any, machine: Any) -> None:
    own = start(listen="127.0.0.2:0", with_data=False)
    with pytest.raises(
        WorkerRefusedError, match=r"IP address mismatch.*Make all certificates with one"
    ):
        machine(own.address).connect()


def test_nobody_there(machine: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(WorkerUnreachableError, match="nothing listens there"):
        machine(f"127.0.0.1:{port}").connect()
    assert issubclass(control.WorkerRefusedError, WorkerError)
