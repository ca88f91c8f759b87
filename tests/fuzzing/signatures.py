"""Targets that read signatures, their containers, and keys. A key accepts everything, so that the code behind it is
reached too."""

from __future__ import annotations

import base64
import functools
import json
from typing import Any

from arstore.digest import Digest
from arstore.trust import cosign, dir_file
from arstore.trust.keys import PublicKey, pem_of, read_public_key
from arstore.trust.openpgp import status
from arstore.trust.payload import COSIGN, SIMPLE, Statement, read_statement, write_statement
from arstore.trust.signature import MOST, Bundle, SigstoreSignature
from arstore.trust.sigstore import rekor, x509
from arstore.trust.sigstore.bundle import Attested, make_bundle, verify_bundle
from arstore.trust.sigstore.verify import verify_with_keys
from fuzzing.target import Target

_DIGEST = Digest.of(b"a manifest")
_STATEMENT = Statement(_DIGEST, "example.org/app:1", "tests", 1_780_000_000)
_PAYLOAD = write_statement(_STATEMENT, COSIGN)


class _Gullible(PublicKey):
    """A key that accepts every signature."""

    def verify(self, signature: bytes, message: bytes) -> None:
        """Accept every signature."""


_KEY = _Gullible("ECDSA P-256", b"key", None)


def read_payload(data: bytes) -> None:
    """Read a payload of either type; written again, it must read the same."""
    found = None
    for kind in (SIMPLE, COSIGN):
        try:
            found = read_statement(data, kind)
        except Exception as error:
            if kind == COSIGN:
                raise error from None
            continue
        assert isinstance(found.digest, Digest)
        assert found.reference
        assert read_statement(write_statement(found, kind), kind) == found


def read_bundle(data: bytes) -> None:
    """Read a bundle and its statement."""
    found = verify_bundle(Bundle(data), [_KEY])
    assert found.subjects
    assert all(isinstance(one, Digest) for one in found.subjects)
    assert verify_bundle(make_bundle(found, _KEY.hint, lambda _: b"x"), [_KEY]) == found


def read_entry(data: bytes) -> None:
    """Read an entry of a log."""
    found = rekor.verify_entry(data.decode("latin-1"), [_KEY], b"key", b"signature", _PAYLOAD)
    assert found.tzinfo is not None


def read_signature_file(data: bytes) -> None:
    """Read a signature file of a `dir:` image, and the signature in it."""
    found = dir_file.read_file(data)
    assert dir_file.read_file(dir_file.write_file(found)) == found
    if isinstance(found, SigstoreSignature):
        verify_with_keys(found, [_KEY], [_KEY] if found.rekor else [])


def read_manifest(data: bytes) -> None:
    """Read a manifest with signatures, and add one to it."""
    slots = cosign.read_slots(data)
    cosign.read_bundle_slots(data)
    assert len(slots) <= MOST
    more = cosign.add(data, SigstoreSignature(_PAYLOAD, "AAAA"))
    assert len(cosign.read_slots(more.manifest)) in {len(slots), len(slots) + 1}


def read_keys(data: bytes) -> None:
    """Read a public key, a certificate, a chain or roots: whichever it is."""
    try:
        found = read_public_key(data, "key")
    except Exception:
        text = data.decode("latin-1")
        x509.read_chain(text)
        leaf = x509.read_certificate(text)
        x509.emails_of(leaf)
        x509.oidc_issuer_of(leaf)
        x509.must_sign_code(leaf)
        raise
    assert read_public_key(found.pem(), "key").der == found.der


def read_status(data: bytes) -> None:
    """Read the status output of gpg."""
    lines = data.decode("utf-8", "replace").split("\n")
    status.imported(lines)
    assert len(status.signer_of(lines, 0)) in {40, 64}


def _entry() -> bytes:
    body: dict[str, Any] = {
        "apiVersion": "0.0.1",
        "kind": "hashedrekord",
        "spec": {
            "data": {"hash": {"algorithm": "sha256", "value": Digest.of(_PAYLOAD).hex}},
            "signature": {
                "content": _base64(b"signature"),
                "publicKey": {"content": _base64(pem_of("PUBLIC KEY", b"key"))},
            },
        },
    }
    signed = {
        "body": _base64(json.dumps(body).encode()),
        "integratedTime": 1_780_000_000,
        "logIndex": 7,
        "logID": "00",
    }
    return json.dumps({"SignedEntryTimestamp": _base64(b"promise"), "Payload": signed}).encode()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


@functools.cache
def _pems() -> tuple[bytes, ...]:
    from support.signing import Ca, new_key

    ca = Ca()
    return (
        new_key().public.pem(),
        new_key("ed25519").public.pem(),
        ca.issue()[1].encode(),
        ca.subordinate().chain.encode(),
    )


_SIGNATURE = SigstoreSignature(_PAYLOAD, _base64(b"signature"), rekor=_entry().decode())
_STATUS = (
    "NEWSIG\nGOODSIG 43DAE85D2657C5C4 T\nPLAINTEXT 62 0 \nVALIDSIG "
    + "A" * 40
    + " 2026-01-01 1 0 4 0 22 8 00 "
    + "A" * 40
)
_JSON = (b'":', b'{"', b"},", b"null", b"[]", b'"', b"1e9", b"\\u0000")

TARGETS = (
    Target(
        "signature-payload",
        read_payload,
        lambda: [_PAYLOAD, write_statement(_STATEMENT, SIMPLE), _PAYLOAD.replace(b'{"creator"', b'null,"x":{"c"')],
        1024,
        words=(*_JSON, b'"critical"', b'"optional"', b'"timestamp":', b"sha256:", COSIGN.encode(), SIMPLE.encode()),
    ),
    Target(
        "signature-bundle",
        read_bundle,
        lambda: [make_bundle(Attested((_DIGEST,)), "aGludA==", lambda _: b"signature").raw],
        2048,
        words=(*_JSON, b'"dsseEnvelope"', b'"publicKey"', b'"certificate":{}', b'"sig":', b'"subject":[', b'"sha256":'),
    ),
    Target(
        "signature-log-entry",
        read_entry,
        lambda: [_entry()],
        2048,
        words=(*_JSON, b'"Payload":', b'"integratedTime":', b'"logIndex":', b'"inclusionProof":{}'),
    ),
    Target(
        "signature-file",
        read_signature_file,
        lambda: [dir_file.write_file(_SIGNATURE), b"\0simple-signing\n\xa3\x01", b"\xa3\x01abc"],
        2048,
        words=(*_JSON, b"\0sigstore-json\n", b'"annotations":{', b'"payload":"', cosign.REKOR.encode()),
    ),
    Target(
        "signature-manifest",
        read_manifest,
        lambda: [
            cosign.carry([_SIGNATURE]).manifest,
            cosign.carry_bundle(Bundle(b"{}"), cosign.MANIFEST, b"{}").manifest,
        ],
        2048,
        words=(*_JSON, b'"layers":[', b'"annotations":{', cosign.PAYLOAD.encode(), b'"size":', b"sha256:"),
    ),
    Target(
        "signature-keys",
        read_keys,
        lambda: list(_pems()),
        2048,
        words=(b"-----BEGIN ", b"-----END ", b"-----\n", b"PUBLIC KEY", b"CERTIFICATE", b"RSA "),
    ),
    Target(
        "signature-gpg-status",
        read_status,
        lambda: [_STATUS.encode(), _STATUS.replace("GOODSIG", "EXPKEYSIG").encode()],
        words=(b"\nGOODSIG ", b"\nVALIDSIG ", b"\nPLAINTEXT ", b"\nNEWSIG", b"\nERRSIG ", b" 00 ", b"A" * 40),
    ),
)
