"""Valid certificates of all kinds; the invalid ones are in `attacking`."""

import base64
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from support.signing import EMAIL, ISSUER, NOW, STATEMENT, Ca, signed
from trust.attacking.world import World

from arstore.errors import KeyFileError, RegistryConfigError, SignatureError
from arstore.registry.http.client_certificate import issuers
from arstore.trust.encryption.key_file import read_recipient
from arstore.trust.sigstore.verify import Pki, verify_with_pki
from arstore.trust.sigstore.x509 import Roots, oidc_issuer_of, read_certificate, read_roots


@pytest.fixture(scope="module")
def world():
    return World()


_HOSTS = [x509.DNSName("Build.Example.org"), x509.DNSName("*.example.org")]
_ADDRESSES = [x509.IPAddress(ipaddress.ip_address(text)) for text in ("192.0.2.1", "2001:db8::1")]


@pytest.mark.parametrize(
    "options",
    [
        {"critical": True},
        {"critical": True, "subject": []},
        {"issuer": None},
        {"issuer_v2": None},
        {"extended": [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]},
        {"extended": [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.CODE_SIGNING]},
        {"names": [x509.RFC822Name("x@example.org"), x509.RFC822Name(EMAIL)]},
        {"key": ec.generate_private_key(ec.SECP384R1())},
        {"key": rsa.generate_private_key(65537, 2048)},
        {"key": ed25519.Ed25519PrivateKey.generate()},
        {"more": [(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"x"), False)]},
    ],
    ids=lambda options: ", ".join(options),
)
def test_certificates_of_fulcio(world, options):
    assert world.certified(**options) == STATEMENT


def test_chains(world):
    assert world.certified(world.root, chain="") == STATEMENT
    assert world.certified(world.root.subordinate("a", path_length=1).subordinate("b", path_length=0)) == STATEMENT
    usage = {"key_cert_sign": True}
    assert (
        world.certified(world.root.subordinate("c", usage=usage, extended=[ExtendedKeyUsageOID.CODE_SIGNING]))
        == STATEMENT
    )


@pytest.mark.parametrize(
    ("host", "names"),
    [
        ("build.example.org", _HOSTS),
        ("BUILD.example.org.", _HOSTS),
        ("other.example.org", _HOSTS),
        ("192.0.2.1", _ADDRESSES),
        ("2001:db8::1", _ADDRESSES),
        ("[2001:db8::1]", _ADDRESSES),
    ],
)
def test_hosts_of_a_pki(world, host, names):
    assert world.privately(email="", hostname=host, names=names) == STATEMENT


def test_a_pki_needs_no_usage_and_may_give_its_own_intermediates(world):
    assert world.privately(extended=None) == STATEMENT
    key, certificate = world.ca.issue()
    trusted = Pki(Roots(world.roots.roots, (world.ca.certificate,)), EMAIL)
    assert verify_with_pki(signed(key, certificate=certificate), trusted, NOW) == STATEMENT


def test_a_long_name_of_an_issuer():
    text = "https://issuer.example.org/" + "x" * 200
    raw = text.encode()
    _, pem = Ca().issue(issuer=None, issuer_v2=bytes([0x0C, 0x81, len(raw)]) + raw)
    assert oidc_issuer_of(x509.load_pem_x509_certificate(pem.encode())) == text
    _, pem = Ca().issue()
    assert oidc_issuer_of(x509.load_pem_x509_certificate(pem.encode())) == ISSUER


@pytest.mark.parametrize(
    "data", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_files_of_roots_that_are_none(data):
    with pytest.raises(KeyFileError):
        read_roots(data, "roots")


def test_a_file_of_roots_with_something_else(world):
    with pytest.raises(KeyFileError, match="other than certificates"):
        read_roots(world.root.pem.encode() + world.key.public.pem(), "roots")
    assert len(read_roots((world.root.pem + world.ca.pem).encode(), "roots")) == 2


def test_a_certificate_of_an_unknown_version_is_refused_by_every_reader(world, tmp_path):
    # cryptography's exception for it is not a ValueError.
    der = world.ca.certificate.public_bytes(serialization.Encoding.DER)
    assert der.count(bytes.fromhex("a003020102")) == 1  # [0] { INTEGER 2 }: version 3
    der = der.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020112"))
    text = f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(der).decode()}\n-----END CERTIFICATE-----\n"
    path = tmp_path / "certificate.pem"
    path.write_text(text)
    with pytest.raises(SignatureError, match="cannot be read"):
        read_certificate(text)
    with pytest.raises(KeyFileError, match="cannot be read"):
        read_roots(text.encode(), "roots")
    with pytest.raises(KeyFileError, match="is not a public key or certificate"):
        read_recipient(str(path))
    with pytest.raises(RegistryConfigError, match="cannot be used"):
        issuers(str(path))
