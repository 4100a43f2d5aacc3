"""Mutual TLS 1.3 between a run and its workers: which files, and the contexts that Python and gRPC
want of them.

Both sides have a certificate of one private CA and ask for the other's. `fedpipe worker certs`
makes the files; what is wrong with them is said before a connection is tried, because what TLS says
of it is seldom understood.
"""

import datetime
import ssl
import stat
from pathlib import Path
from typing import Any, Literal

from fedpipe.errors import EnvironmentProblem

CA = "ca.pem"
CA_KEY = "ca-key.pem"
Side = Literal["worker", "runner"]
HTTP = "http/1.1"
GRPC = "h2"


def files_of(side: Side) -> tuple[str, str]:
    """Return the names of the certificate and of the private key of a side."""
    return f"{side}.pem", f"{side}-key.pem"


def check(folder: Path, side: Side) -> None:
    """Return if the files of a side can be used now.

    Raises:
        EnvironmentProblem: one is missing or no certificate, has expired or is not yet valid, or
            others may read the key.
    """
    from cryptography import x509

    certificate, key = files_of(side)
    for name in (CA, certificate, key):
        if not (folder / name).is_file():
            raise EnvironmentProblem(
                f"{folder / name}: expected a file of `fedpipe worker certs`, found none. Make "
                "the certificates, or set runtime.certs."
            )
    now = datetime.datetime.now(datetime.UTC)
    for name in (CA, certificate):
        try:
            loaded = x509.load_pem_x509_certificate((folder / name).read_bytes())
        except (OSError, ValueError) as err:
            raise EnvironmentProblem(
                f"{folder / name}: expected a certificate in PEM, cannot read it: {err}."
            ) from err
        if not loaded.not_valid_before_utc <= now <= loaded.not_valid_after_utc:
            raise EnvironmentProblem(
                f"{folder / name}: expected a certificate that is valid now, found one from "
                f"{loaded.not_valid_before_utc:%Y-%m-%d %H:%M} to "
                f"{loaded.not_valid_after_utc:%Y-%m-%d %H:%M} UTC. Make new ones with `fedpipe "
                "worker certs`."
            )
    mode = stat.S_IMODE((folder / key).stat().st_mode)
    if mode & 0o077:
        raise EnvironmentProblem(
            f"{folder / key}: expected a key that its owner alone reads, found mode {mode:04o}. "
            "Run chmod 600."
        )


def server_context(folder: Path) -> ssl.SSLContext:
    """Return the context of a worker: TLS 1.3, a client certificate of the CA is required. Raises
    EnvironmentProblem.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols([GRPC, HTTP])
    return _filled(context, folder, "worker")


def client_context(folder: Path) -> ssl.SSLContext:
    """Return the context of the run's control connections; the worker's name or address must be in
    its certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols([HTTP])
    return _filled(context, folder, "runner")


def channel_credentials(folder: Path) -> Any:
    """Return gRPC's credentials of the run."""
    import grpc

    certificate, key = ((folder / name).read_bytes() for name in files_of("runner"))
    return grpc.ssl_channel_credentials((folder / CA).read_bytes(), key, certificate)


def _filled(context: ssl.SSLContext, folder: Path, side: Side) -> ssl.SSLContext:
    check(folder, side)
    certificate, key = files_of(side)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_cert_chain(folder / certificate, folder / key)
        context.load_verify_locations(folder / CA)
    except (ssl.SSLError, OSError) as err:
        raise EnvironmentProblem(
            f"{folder}: expected a certificate, its key and its CA, found that they do not go "
            f"together: {err}. Make new ones with `fedpipe worker certs`."
        ) from err
    return context
