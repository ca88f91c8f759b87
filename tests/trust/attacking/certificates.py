"""Certificates from untrusted issuers, or issued for another purpose."""

from __future__ import annotations

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from support.signing import EMAIL, NOW, PAYLOAD, Ca, base64_of, entry, signed
from trust.attacking.world import Attack

from arstore.trust.signature import SigstoreSignature
from arstore.trust.sigstore.verify import Fulcio, Pki, verify_with_fulcio, verify_with_pki
from arstore.trust.sigstore.x509 import Roots

_DAY = datetime.timedelta(days=1)
_USAGES = ExtendedKeyUsageOID
_COMMON = NameOID.COMMON_NAME


def _mail(*addresses):
    return [x509.RFC822Name(address) for address in addresses]


def _dns(*names):
    return [x509.DNSName(name) for name in names]


def _other_text(world, change_certificate=None, change_chain=None):
    """A good signature of Fulcio's, with its PEM texts changed after the log entry was made, or before it."""
    key, certificate = world.ca.issue()
    made = key.sign(PAYLOAD)
    rekor = entry(world.log, certificate.encode(), made, PAYLOAD)
    certificate = change_certificate(certificate) if change_certificate else certificate
    chain = change_chain(world.ca.chain) if change_chain else world.ca.chain
    found = SigstoreSignature(PAYLOAD, base64_of(made), certificate, chain, rekor)
    return verify_with_fulcio(found, world.fulcio, [world.log.public])


def _another_key(world):
    """The certificate is the victim's, and its log entry too; the signature is the attacker's."""
    _, certificate = world.ca.issue()
    made = world.other.sign(PAYLOAD)
    rekor = entry(world.log, certificate.encode(), made, PAYLOAD)
    found = SigstoreSignature(PAYLOAD, base64_of(made), certificate, world.ca.chain, rekor)
    return verify_with_fulcio(found, world.fulcio, [world.log.public])


def _by_a_leaf(world):
    """The owner of a good certificate issues another one with it."""
    leaf_key, leaf = world.ca.issue()
    forger = Ca.__new__(Ca)
    forger.key, forger.name, forger.parent = (
        leaf_key.key,
        x509.load_pem_x509_certificate(leaf.encode()).subject,
        world.ca,
    )
    forger.certificate = x509.load_pem_x509_certificate(leaf.encode())
    return world.certified(forger)


def _constrained(world, **names):
    """Below a CA that may only speak for some names."""
    return world.certified(world.root.subordinate("constrained", constraints=x509.NameConstraints(**names)))


def _many_paths(world):
    """Certificates that all fit in any order: seven of one name and key, each signed by all."""
    ca = world.root.subordinate("loop")
    others = [Ca("loop", ca).pem for _ in range(6)]
    return world.certified(ca, chain="".join(others) + world.root.pem)


_FULCIO = {
    "that was over when the log took it in": (lambda w: w.certified(at=NOW + _DAY), ""),
    "that had not begun when the log took it in": (lambda w: w.certified(at=NOW - _DAY), ""),
    "of another authority": (lambda w: w.certified(Ca("root").subordinate()), ""),
    "of another authority, whose root comes along": (lambda w: w.certified(Ca("evil")), ""),
    "whose root is the attacker's, followed by the trusted one": (
        lambda w: w.certified(ca := Ca("evil").subordinate("evil 2"), chain=ca.chain + w.root.pem),
        "",
    ),
    "signed by itself": (lambda w: w.certified(Ca("signer"), chain=""), ""),
    "without the intermediate": (lambda w: w.certified(chain=""), ""),
    "with only the root as its chain": (lambda w: w.certified(chain=w.root.pem), ""),
    "below a root that has expired": (
        lambda w: w.certified(
            ca := Ca("old", until=NOW - _DAY), trusted=w.fulcio._replace(roots=Roots((ca.certificate,)))
        ),
        "",
    ),
    "below an intermediate that has expired": (lambda w: w.certified(w.root.subordinate("old", until=NOW - _DAY)), ""),
    "below a certificate that is not a CA": (
        lambda w: w.certified(w.root.subordinate("no", ca=False)),
        "CVE-2020-0601 (its kind)",
    ),
    "below a certificate that is not marked as a CA": (
        lambda w: w.certified(w.root.subordinate("no", constrained=False)),
        "",
    ),
    "below a CA too deep": (lambda w: w.certified(w.root.subordinate("p", path_length=0).subordinate("deep")), ""),
    "below a CA that may not sign certificates": (
        lambda w: w.certified(w.root.subordinate("no", usage={"digital_signature": True})),
        "",
    ),
    "below a CA for web servers": (
        lambda w: w.certified(w.root.subordinate("web", extended=[_USAGES.SERVER_AUTH])),
        "",
    ),
    "issued by the owner of another certificate": (_by_a_leaf, "CVE-2002-0862"),
    "for web servers": (lambda w: w.certified(extended=[_USAGES.SERVER_AUTH]), ""),
    "for e-mail": (lambda w: w.certified(extended=[_USAGES.EMAIL_PROTECTION]), ""),
    "without a purpose": (lambda w: w.certified(extended=None), ""),
    "that may not sign": (lambda w: w.certified(more=[(_usage(), True)]), ""),
    "with an unknown critical extension": (
        lambda w: w.certified(more=[(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"x"), True)]),
        "",
    ),
    "without names": (lambda w: w.certified(names=None), ""),
    "whose address differs in letter case": (lambda w: w.certified(names=_mail(EMAIL.lower())), ""),
    "whose domain differs in letter case": (lambda w: w.certified(names=_mail("Builder@EXAMPLE.org")), ""),
    "whose address begins with the one wanted": (lambda w: w.certified(names=_mail(EMAIL + ".evil.example")), ""),
    "whose address ends with the one wanted": (lambda w: w.certified(names=_mail("x" + EMAIL)), ""),
    "whose address is a wildcard": (lambda w: w.certified(names=_mail("*@example.org")), ""),
    "whose address holds a NUL": (lambda w: w.certified(names=_mail(EMAIL + "\0.evil.example")), "CVE-2009-2408"),
    "whose address contains two addresses": (lambda w: w.certified(names=_mail(f"{EMAIL},x@example.org")), ""),
    "whose address is in a host name": (lambda w: w.certified(names=_dns(EMAIL)), ""),
    "whose address is a URI": (lambda w: w.certified(names=[x509.UniformResourceIdentifier(f"mailto:{EMAIL}")]), ""),
    "whose address is in its subject": (
        lambda w: w.certified(names=_mail("x@example.org"), subject=[x509.NameAttribute(_COMMON, EMAIL)]),
        "",
    ),
    "whose address is of another kind": (
        lambda w: w.certified(names=[x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.7"), b"\x0c\x01x")]),
        "",
    ),
    "with another issuer of identities": (
        lambda w: w.certified(issuer="https://e.example", issuer_v2="https://e.example"),
        "CVE-2026-24122 (its kind)",
    ),
    "whose issuer of identities begins with the one wanted": (
        lambda w: w.certified(issuer=w.fulcio.issuer + ".e", issuer_v2=None),
        "",
    ),
    "with two issuers of identities": (lambda w: w.certified(issuer="https://e.example"), ""),
    "without an issuer of identities": (lambda w: w.certified(issuer=None, issuer_v2=None), ""),
    "whose issuer of identities has a trailing byte": (
        lambda w: w.certified(
            issuer=None, issuer_v2=bytes([12, len(w.fulcio.issuer)]) + w.fulcio.issuer.encode() + b"x"
        ),
        "",
    ),
    "whose issuer of identities is not a string": (
        lambda w: w.certified(issuer=None, issuer_v2=bytes([4, len(w.fulcio.issuer)]) + w.fulcio.issuer.encode()),
        "",
    ),
    "whose issuer of identities is not UTF-8": (lambda w: w.certified(issuer=b"\xff", issuer_v2=None), ""),
    "outside the names that its CA may give": (
        lambda w: _constrained(w, permitted_subtrees=_mail("other.example"), excluded_subtrees=None),
        "",
    ),
    "of a name that its CA must not give": (
        lambda w: _constrained(w, permitted_subtrees=None, excluded_subtrees=_mail("example.org")),
        "",
    ),
    "of a key that did not sign": (_another_key, ""),
    "with a key of 1024 bits": (lambda w: w.certified(key=rsa.generate_private_key(65537, 1024)), ""),
    "with a key of the curve secp256k1": (lambda w: w.certified(key=ec.generate_private_key(ec.SECP256K1())), ""),
    "twice": (lambda w: _other_text(w, lambda text: text * 2), ""),
    "with trailing text": (lambda w: _other_text(w, lambda text: text + "x"), ""),
    "that is a key": (lambda w: _other_text(w, lambda _: w.key.public.pem().decode()), ""),
    "that is not PEM": (lambda w: _other_text(w, lambda _: "certificate"), ""),
    "cut in its middle": (lambda w: _other_text(w, lambda text: text[:200] + text[-26:]), ""),
    "that is missing": (lambda w: _other_text(w, lambda _: ""), ""),
    "with a chain that is not PEM": (lambda w: _other_text(w, None, lambda _: "chain"), ""),
    "with a chain of nine": (
        lambda w: _other_text(w, None, lambda text: text + "".join(Ca(f"x{i}").pem for i in range(8))),
        "",
    ),
    "with a chain of 1 MiB": (lambda w: _other_text(w, None, lambda text: text + " " * (1 << 20)), ""),
    "with a chain of more paths than can be tried": (_many_paths, "exponential time"),
    "with a chain of ten thousand beginnings": (
        lambda w: _other_text(w, None, lambda _: "-----BEGIN CERTIFICATE-----\n" * 10_000),
        "quadratic time",
    ),
    "without any requirement": (
        lambda w: verify_with_fulcio(signed(w.key), Fulcio(w.roots, "", ""), [w.log.public]),
        "",
    ),
    "where no log is trusted": (lambda w: verify_with_fulcio(signed(w.key), w.fulcio, []), ""),
}
_HOST = "build.example.org"
_PKI = {
    "that has expired": (lambda w: w.privately(now=NOW + _DAY), ""),
    "that is not valid yet": (lambda w: w.privately(now=NOW - _DAY), ""),
    "of another authority": (lambda w: w.privately(Ca("root").subordinate()), ""),
    "without the intermediate": (lambda w: w.privately(chain=""), ""),
    "for web servers": (lambda w: w.privately(extended=[_USAGES.SERVER_AUTH]), ""),
    "for another address": (lambda w: w.privately(names=_mail("x@example.org")), ""),
    "for another host": (lambda w: w.privately(email="", hostname=_HOST, names=_dns("evil.example")), ""),
    "for a host below the one wanted": (lambda w: w.privately(email="", hostname=_HOST, names=_dns("a." + _HOST)), ""),
    "for a host two labels below a wildcard": (
        lambda w: w.privately(email="", hostname="a.b.example.org", names=_dns("*.example.org")),
        "",
    ),
    "for a wildcard within a label": (
        lambda w: w.privately(email="", hostname=_HOST, names=_dns("b*.example.org")),
        "",
    ),
    "for a wildcard over a whole domain": (
        lambda w: w.privately(email="", hostname="example.org", names=_dns("*.org")),
        "",
    ),
    "for a wildcard that is everything": (lambda w: w.privately(email="", hostname="localhost", names=_dns("*")), ""),
    "whose host is in its subject": (
        lambda w: w.privately(
            email="", hostname=_HOST, names=_mail(EMAIL), subject=[x509.NameAttribute(_COMMON, _HOST)]
        ),
        "CVE-2020-0601 (its kind)",
    ),
    "whose address is in a host name": (
        lambda w: w.privately(email="", hostname="192.0.2.1", names=_dns("192.0.2.1")),
        "",
    ),
    "for another network address": (
        lambda w: w.privately(
            email="", hostname="192.0.2.1", names=[x509.IPAddress(ipaddress.ip_address("192.0.2.2"))]
        ),
        "",
    ),
    "with the right address and another host": (
        lambda w: w.privately(hostname=_HOST, names=[*_mail(EMAIL), *_dns("x.example")]),
        "",
    ),
    "with the right host and another address": (
        lambda w: w.privately(hostname=_HOST, names=[*_mail("x@x.example"), *_dns(_HOST)]),
        "",
    ),
    "that is missing": (lambda w: verify_with_pki(signed(w.key), Pki(w.roots, EMAIL), NOW), ""),
    "without any requirement": (lambda w: w.privately(email="", hostname=""), ""),
    "of a key that did not sign": (
        lambda w: verify_with_pki(
            signed(w.other, certificate=w.ca.issue()[1], chain=w.ca.chain), Pki(w.roots, EMAIL), NOW
        ),
        "",
    ),
}


def _usage():
    names = (
        "content_commitment key_encipherment data_encipherment key_agreement crl_sign encipher_only decipher_only"
        " digital_signature"
    )
    return x509.KeyUsage(**dict.fromkeys(names.split(), False), key_cert_sign=True)


ATTACKS = [Attack("certificate of Fulcio", name, attempt, known) for name, (attempt, known) in _FULCIO.items()]
ATTACKS += [Attack("certificate of a PKI", name, attempt, known) for name, (attempt, known) in _PKI.items()]
