"""The certificates and keys of one box: two authorities, three certificates, one key to sign service account tokens."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = datetime.timedelta(days=30)


@dataclass(frozen=True)
class Pki:
    """Where the PEM files are."""

    ca: Path
    """Signs the API server's certificate; every kubeconfig carries it."""
    server_cert: Path
    server_key: Path
    proxy_ca: Path
    """Signs what the API server shows to aggregated API servers, such as metrics-server."""
    proxy_cert: Path
    proxy_key: Path
    service_account_key: Path
    """Private; the API server reads the public half from the same file."""


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(  # in the form "EC PRIVATE KEY": the API server reads service account keys in no other
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )


class _Authority:
    def __init__(self, common_name: str, now: datetime.datetime) -> None:
        self._now = now
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign(common_name, self._key.public_key(), x509.BasicConstraints(True, None), [])

    def _sign(
        self,
        common_name: str,
        public_key: ec.EllipticCurvePublicKey,
        constraints: x509.BasicConstraints,
        extensions: list[x509.ExtensionType],
    ) -> x509.Certificate:
        issuer = _name(common_name) if constraints.ca else self.certificate.subject
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(common_name))
            .issuer_name(issuer)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            # Clocks that step back a little must not make it a certificate of the future.
            .not_valid_before(self._now - datetime.timedelta(hours=1))
            .not_valid_after(self._now + LIFETIME)
            .add_extension(constraints, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True,
                    key_cert_sign=constraints.ca,
                    crl_sign=constraints.ca,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def write_ca(self, path: Path) -> None:
        path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, common_name: str, cert: Path, key: Path, *extensions: x509.ExtensionType) -> None:
        private = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(
            common_name, private.public_key(), x509.BasicConstraints(False, None), list(extensions)
        )
        cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        _write_key(key, private)


def make(directory: Path, addresses: list[str], names: list[str]) -> Pki:
    """Write fresh ones into `directory`.

    Args:
        addresses: the IP addresses, and
        names: the DNS names, under which the API server is called.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    pki = Pki(
        ca=directory / "ca.crt",
        server_cert=directory / "apiserver.crt",
        server_key=directory / "apiserver.key",
        proxy_ca=directory / "front-proxy-ca.crt",
        proxy_cert=directory / "front-proxy-client.crt",
        proxy_key=directory / "front-proxy-client.key",
        service_account_key=directory / "service-account.key",
    )
    now = datetime.datetime.now(datetime.UTC)
    authority = _Authority("localcluster", now)
    authority.write_ca(pki.ca)
    authority.issue(
        "kube-apiserver",
        pki.server_cert,
        pki.server_key,
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
        x509.SubjectAlternativeName(
            [
                *(x509.IPAddress(ipaddress.ip_address(address)) for address in addresses),
                *(x509.DNSName(name) for name in names),
            ]
        ),
    )
    proxy_authority = _Authority("localcluster-front-proxy", now)
    proxy_authority.write_ca(pki.proxy_ca)
    proxy_authority.issue(
        "front-proxy-client", pki.proxy_cert, pki.proxy_key, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    )
    _write_key(pki.service_account_key, ec.generate_private_key(ec.SECP256R1()))
    return pki
