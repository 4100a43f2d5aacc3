"""The certificates of workers and runs."""

import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

from fedpipe.cluster.certificates import make_certificates
from fedpipe.engine.remote.tls import check
from fedpipe.errors import ConfigError, EnvironmentProblem


def test_files_modes_names_and_purposes(tmp_path: Path) -> None:
    made = make_certificates(tmp_path / "certs", ["worker1.lan", "10.1.0.2", "fd00::2"], days=30)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in made}
    keys = {"ca-key.pem", "worker-key.pem", "runner-key.pem"}
    assert set(modes) == keys | {"ca.pem", "worker.pem", "runner.pem"}
    assert {modes[name] for name in keys} == {0o600}
    ca, worker, runner = (
        x509.load_pem_x509_certificate((tmp_path / "certs" / f"{name}.pem").read_bytes())
        for name in ("ca", "worker", "runner")
    )
    for certificate, usage in ((worker, Usage.SERVER_AUTH), (runner, Usage.CLIENT_AUTH)):
        certificate.verify_directly_issued_by(ca)
        assert list(
            certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        ) == [usage]
        assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days == 30
    names = worker.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["worker1.lan", "localhost"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == [
        "10.1.0.2",
        "fd00::2",
        "127.0.0.1",
        "::1",
    ]
    for side in ("worker", "runner"):
        check(tmp_path / "certs", side)  # type: ignore[arg-type]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (key,) = [
        path for path in make_certificates(tmp_path, [], days=1) if path.name == "runner-key.pem"
    ]
    before = key.read_bytes()
    with pytest.raises(
        ConfigError, match=r"expected a folder without certificates, found ca\.pem, .* Name another"
    ):
        make_certificates(tmp_path, [], days=1)
    assert key.read_bytes() == before


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    make_certificates(tmp_path, [], days=1)
    (tmp_path / "worker-key.pem").chmod(0o644)
    with pytest.raises(
        EnvironmentProblem,
        match=r"worker-key\.pem: expected a key that its owner alone reads, found mode 0644\. Run chmod 600",
    ):
        check(tmp_path, "worker")


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        EnvironmentProblem, match=r"ca\.pem: expected a file of `fedpipe worker certs`, found none"
    ):
        check(tmp_path, "worker")
    make_certificates(tmp_path, [], days=1)
    (tmp_path / "runner.pem").write_text("no certificate")
    with pytest.raises(EnvironmentProblem, match=r"runner\.pem: expected a certificate in PEM"):
        check(tmp_path, "runner")
