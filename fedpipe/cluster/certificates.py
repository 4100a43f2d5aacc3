"""Makes the certificates of a run over several machines: a private CA, one for workers, one for
runners.

Keys are elliptic (P-256). The CA's own key is written too, so that more certificates can be made by
other means; fedpipe does not need it again, and no worker should have it.
"""

import datetime
import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedpipe.engine.remote.tls import CA, CA_KEY, files_of
from fedpipe.errors import ConfigError, EnvironmentProblem

if TYPE_CHECKING:
    from cryptography import x509

LOCAL = ("localhost", "127.0.0.1", "::1")
_EARLIER = datetime.timedelta(minutes=10)
"""Clocks of machines differ a little: certificates are valid from a while ago."""


def make_certificates(folder: Path, hosts: Sequence[str], days: float) -> list[Path]:
    """Write a CA, a worker's and a runner's certificate, with their keys, and return the files.

    Args:
        folder: for them; it must not be there, or hold none of them.
        hosts: names and addresses that workers are reached by; `localhost` and its addresses are
            always among them.
        days: how long they are valid.

    Raises:
        ConfigError: some of the files are there; they are never overwritten. Or a host is no name
            and no address.
        EnvironmentProblem: the folder cannot be written.
    """
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

    names = [CA, CA_KEY, *files_of("worker"), *files_of("runner")]
    there = [name for name in names if (folder / name).exists()]
    if there:
        raise ConfigError(
            f"{folder}: expected a folder without certificates, found {', '.join(there)}. Name "
            "another, or remove them."
        )
    alternatives = [_name(host) for host in dict.fromkeys([*hosts, *LOCAL])]
    ca_key, ca = _signed(
        "fedpipe CA",
        days,
        None,
        None,
        [(x509.BasicConstraints(ca=True, path_length=0), True), (_usage(ca=True), True)],
    )
    made = {CA: _pem(ca), CA_KEY: _secret(ca_key)}
    for side, usage, subject_names in (
        ("worker", Usage.SERVER_AUTH, alternatives),
        ("runner", Usage.CLIENT_AUTH, [x509.DNSName("fedpipe-runner")]),
    ):
        extensions = [
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_usage(ca=False), True),
            (x509.ExtendedKeyUsage([usage]), False),
            (x509.SubjectAlternativeName(subject_names), False),
        ]
        key, certificate = _signed(f"fedpipe {side}", days, ca_key, ca, extensions)
        made |= dict(
            zip(
                files_of("worker" if side == "worker" else "runner"),
                (_pem(certificate), _secret(key)),
                strict=True,
            )
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, body in made.items():
            # The mode is there from the beginning: a key is never readable by others, not for a
            # moment.
            descriptor = os.open(
                folder / name,
                os.O_WRONLY | os.O_CREAT | os.O_EXCL,
                0o600 if name.endswith("-key.pem") else 0o644,
            )
            with os.fdopen(descriptor, "wb") as file:
                file.write(body)
    except OSError as err:
        raise EnvironmentProblem(
            f"{folder}: expected to write certificates there, found {err}."
        ) from err
    return [folder / name for name in made]


def _name(host: str) -> "x509.GeneralName":
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError as err:
        raise ConfigError(
            f"--hosts {host}: expected a name or an address, without port: {err}."
        ) from err


def _signed(
    name: str, days: float, issuer_key: Any, issuer: Any, extensions: Sequence[tuple[Any, bool]]
) -> tuple[Any, "x509.Certificate"]:
    """Return a new key and its certificate; signed by itself where there is no issuer."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    signer = issuer_key or key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return key, builder.sign(signer, hashes.SHA256())


def _usage(ca: bool) -> "x509.KeyUsage":
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: "x509.Certificate") -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _secret(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
