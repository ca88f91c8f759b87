"""A CA, and its certificates for a server on loopback and for a client, made for each test."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import ssl
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path


class Authority:
    """A CA called *name*; its certificate is in `ca` in *path*."""

    def __init__(self, path: Path, name: str = "test CA") -> None:
        self.path = path
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._builder(self._name, self._key.public_key(), ca=True).sign(self._key, hashes.SHA256())
        self.ca = path / "ca.pem"
        self.ca.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> tuple[Path, Path]:
        """A certificate for *name* on 127.0.0.1, and its key, as files."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName(name)]
        builder = self._builder(subject, key.public_key())
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        paths = self.path / f"{name}.pem", self.path / f"{name}.key.pem"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        form = serialization.PrivateFormat.PKCS8
        paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
        return paths

    def token(self, scopes: list[str], lifetime: int = 300) -> str:
        """A JSON web token for *scopes*, as the distribution project's registry takes it (token/jwt.md)."""
        certificate, key_file = self.issue("token")
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        der = x509.load_pem_x509_certificate(certificate.read_bytes()).public_bytes(serialization.Encoding.DER)
        parts = [scope.rsplit(":", 1) for scope in scopes]
        access = [
            {"type": "repository", "name": name.removeprefix("repository:"), "actions": actions.split(",")}
            for name, actions in parts
        ]
        now = int(datetime.datetime.now(datetime.UTC).timestamp())
        claims = {"iss": "tests", "sub": "me", "aud": "test", "exp": now + lifetime, "nbf": now - 5, "iat": now}
        head = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
        text = b".".join(_encoded(json.dumps(one).encode()) for one in (head, {**claims, "jti": "1", "access": access}))
        r, s = decode_dss_signature(key.sign(text, ec.ECDSA(hashes.SHA256())))
        return (text + b"." + _encoded(r.to_bytes(32, "big") + s.to_bytes(32, "big"))).decode()

    def server(self, clients: bool = False) -> ssl.SSLContext:
        """The context of a server; with *clients*, clients must present a certificate of this CA."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate, key = self.issue("localhost")
        context.load_cert_chain(certificate, key)
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.ca)
        return context

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, ca: bool = False) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca, None), critical=True)
        )


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
