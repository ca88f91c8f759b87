"""Cases about keys and signatures, and about the document that is signed."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from decisions.certificates import EMAIL, HOST, ISSUER
from decisions.policies import (
    ACCEPT,
    BAD_KEY,
    INDEX,
    REJECT,
    TWO_KEYS,
    Case,
    default,
    directory,
    exact,
    gpg,
    sig,
    text,
    trusted,
    without,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from decisions.material import Material


def keys(material: Material) -> Iterator[Case]:
    """Cases about keys, and about invalid signatures."""
    data = {name: base64.b64encode(content).decode() for name, content in material.keys.items()}
    lined = "\n".join(data["alice.gpg"][start : start + 64] for start in range(0, len(data["alice.gpg"]), 64))
    no_path = without(gpg(exact()), "keyPath")
    no_key = without(sig(exact()), "keyPath")
    rekor = {"rekorPublicKeyPath": "@K@/rekor.pub"}
    fulcio = {"caPath": "@K@/fulcio-roots.pem", "oidcIssuer": ISSUER, "subjectEmail": EMAIL}
    pki = {"caRootsPath": "@K@/pki-roots.pem", "subjectEmail": EMAIL}
    rows: list[tuple[str, Any, str]] = [
        ("gpg: keyPath", gpg(exact()), "app"),
        ("gpg: another key", gpg(exact(), "bob.gpg"), "app"),
        ("gpg: one of two in a file", gpg(exact(), "alice-and-bob.gpg"), "app"),
        ("gpg: keyPaths", {**no_path, "keyPaths": ["@K@/bob.gpg", "@K@/alice.gpg"]}, "app"),
        ("gpg: keyPaths, one is not there", {**no_path, "keyPaths": ["@K@/alice.gpg", "@K@/none.gpg"]}, "app"),
        ("gpg: keyPaths, one is not a key", {**no_path, "keyPaths": ["@K@/alice.gpg", "@K@/none.txt"]}, "app"),
        ("gpg: keyData", {**no_path, "keyData": data["alice.gpg"]}, "app"),
        ("gpg: keyData in lines", {**no_path, "keyData": lined}, "app"),
        ("gpg: keyData of another key", {**no_path, "keyData": data["bob.gpg"]}, "app"),
        ("gpg: the file is not there", gpg(exact(), "none.gpg"), "app"),
        ("gpg: the file is not there, nothing is signed", gpg(exact(), "none.gpg"), "bare"),
        ("gpg: the file is empty", gpg(exact(), "empty.pub"), "app"),
        ("gpg: the file is not a key", gpg(exact(), "none.txt"), "app"),
        ("gpg: the file is a sigstore key", gpg(exact(), "k1.pub"), "app"),
        ("gpg: the file is a directory", {**gpg(exact()), "keyPath": "@K@"}, "app"),
        ("gpg: X509Certificates", gpg(exact(), keyType="X509Certificates"), "app"),
        ("gpg: signedByGPGKeys", gpg(exact(), keyType="signedByGPGKeys"), "app"),
        ("gpg: no signature", gpg(exact()), "bare"),
        ("gpg: signed by another", gpg(exact()), "bob"),
        ("gpg: the key has expired", gpg(exact(), "expired.gpg"), "expired"),
        ("gpg: the key is revoked", gpg(exact(), "revoked.gpg"), "revoked"),
        ("gpg: two signatures, one key known", gpg(exact()), "two-keys"),
        ("gpg: bad signatures before a good one", gpg(exact()), "bad-and-good"),
        ("gpg: a signature for another digest", gpg(exact()), "other-digest"),
        ("gpg: an image in Docker's form", gpg(exact()), "docker-form"),
        ("gpg: only sigstore's signatures", gpg(exact()), "sigstore"),
        ("gpg: armoured", gpg(exact()), "armoured"),
        ("gpg: truncated", gpg(exact()), "truncated"),
        ("gpg: a file of no known form before a good one", gpg(exact()), "garbage-and-good"),
        ("key: keyPath", sig(exact()), "bad-and-good"),
        ("key: another key", sig(exact(), "k2.pub"), "logged"),
        ("key: keyPaths", {**no_key, "keyPaths": ["@K@/k2.pub", "@K@/k1.pub"]}, "docker-form"),
        ("key: keyPaths, one is not a key", {**no_key, "keyPaths": ["@K@/k1.pub", "@K@/none.txt"]}, "docker-form"),
        ("key: keyPaths, one is not there", {**no_key, "keyPaths": ["@K@/k1.pub", "@K@/none.pub"]}, "docker-form"),
        ("key: keyData", {**no_key, "keyData": data["k1.pub"]}, "docker-form"),
        ("key: keyDatas", {**no_key, "keyDatas": [data["k2.pub"], data["k1.pub"]]}, "docker-form"),
        ("key: two keys in one file, the first", sig(exact(), "two.pub"), "docker-form"),
        ("key: two keys in one file, the second", sig(exact(), "two.pub"), "only-k2"),
        ("key: the file is empty", sig(exact(), "empty.pub"), "docker-form"),
        ("key: the file is not there", sig(exact(), "none.pub"), "docker-form"),
        ("key: the file is a GPG key", sig(exact(), "alice.gpg"), "docker-form"),
        ("key: the file is a certificate", sig(exact(), "pki-roots.pem"), "pki"),
        ("key: no signature", sig(exact()), "bare"),
        ("key: only OpenPGP signatures", sig(exact()), "app"),
        ("key: a signature for another digest", sig(exact()), "other-digest"),
        ("key: P-384", sig(exact(), "p384.pub"), "p384"),
        ("key: RSA", sig(exact(), "rsa.pub"), "rsa"),
        ("key: Ed25519", sig(exact(), "ed25519.pub"), "ed25519"),
        ("key: of another kind", sig(exact(), "ed25519.pub"), "p384"),
        ("key: type of another signature", sig(exact(), "p256.pub"), "wrong-type"),
        ("key: an attestation", sig(exact(), "p256.pub"), "attestation"),
        ("key: an unknown member in critical", sig(exact(), "p256.pub"), "extra-critical"),
        ("key: a member twice in the payload", sig(exact(), "p256.pub"), "duplicate-critical"),
        ("key: without the signature itself", sig(exact(), "p256.pub"), "no-signature-text"),
        ("key: a file of no known form before a good one", sig(exact()), "garbage-and-good"),
        ("rekor: in the log", sig(exact(), "p256.pub", **rekor), "logged"),
        ("rekor: not in the log", sig(exact()) | rekor, "docker-form"),
        ("rekor: by another log", sig(exact(), "p256.pub", rekorPublicKeyPath="@K@/rekor-other.pub"), "logged"),
        (
            "rekor: by one of two logs",
            sig(exact(), "p256.pub", rekorPublicKeyPaths=["@K@/rekor-other.pub", "@K@/rekor.pub"]),
            "logged",
        ),
        ("rekor: the log's key as data", sig(exact(), "p256.pub", rekorPublicKeyData=data["rekor.pub"]), "logged"),
        ("rekor: the log's key is Ed25519", sig(exact(), "p256.pub", rekorPublicKeyPath="@K@/ed25519.pub"), "logged"),
        ("rekor: an entry for other bytes", sig(exact(), "p256.pub", **rekor), "logged-other"),
        ("fulcio: in time", trusted(fulcio=fulcio, **rekor), "fulcio"),
        ("fulcio: after the certificate's time", trusted(fulcio=fulcio, **rekor), "fulcio-late"),
        ("fulcio: another issuer", trusted(fulcio={**fulcio, "oidcIssuer": f"{ISSUER}/"}, **rekor), "fulcio"),
        ("fulcio: another e-mail", trusted(fulcio={**fulcio, "subjectEmail": f"x{EMAIL}"}, **rekor), "fulcio"),
        (
            "fulcio: the e-mail in other case",
            trusted(fulcio={**fulcio, "subjectEmail": EMAIL.upper()}, **rekor),
            "fulcio",
        ),
        ("fulcio: another root", trusted(fulcio={**fulcio, "caPath": "@K@/pki-roots.pem"}, **rekor), "fulcio"),
        (
            "fulcio: the root is not a certificate",
            trusted(fulcio={**fulcio, "caPath": "@K@/k1.pub"}, **rekor),
            "fulcio",
        ),
        ("fulcio: no certificate", trusted(fulcio=fulcio, **rekor), "logged"),
        ("pki: by e-mail", trusted(pki=pki), "pki"),
        ("pki: by host", trusted(pki={**without(pki, "subjectEmail"), "subjectHostname": HOST}), "pki"),
        ("pki: by both", trusted(pki={**pki, "subjectHostname": HOST}), "pki"),
        ("pki: by both, one is another", trusted(pki={**pki, "subjectHostname": "other.example.com"}), "pki"),
        ("pki: another e-mail", trusted(pki={**pki, "subjectEmail": f"x{EMAIL}"}), "pki"),
        ("pki: one of two roots", trusted(pki={**pki, "caRootsPath": "@K@/pki-both.pem"}), "pki"),
        ("pki: another root", trusted(pki={**pki, "caRootsPath": "@K@/pki-other-roots.pem"}), "pki"),
        ("pki: the certificate has expired", trusted(pki=pki), "pki-expired"),
        ("pki: without the intermediate", trusted(pki=pki), "pki-between"),
        (
            "pki: with the intermediate",
            trusted(pki={**pki, "caIntermediatesPath": "@K@/pki-between.pem"}),
            "pki-between",
        ),
        (
            "pki: the intermediate is not a certificate",
            trusted(pki={**pki, "caIntermediatesPath": "@K@/k1.pub"}),
            "pki-between",
        ),
        ("pki: no certificate", trusted(pki=pki), "p384"),
    ]
    argued = {"gpg: keyPaths, one is not a key": BAD_KEY, "key: two keys in one file, the first": TWO_KEYS}
    for title, requirement, fixture in rows:
        policy = text(default(requirement))
        yield Case("keys", title, policy, directory(fixture), fixture, argued.get(title, ""))
    yield Case(
        "keys",
        "key: of an image in a registry",
        text(default(sig())),
        "docker://registry.example:5000/team/sigstore:1",
        "sigstore",
    )


def indexes() -> Iterator[Case]:
    """Cases about signatures on an index, or on the image chosen from it."""
    for label in ("index-only", "instance-only", "index-unsigned", "other-instance"):
        repo = f"registry.example:5000/lists/{label}"
        argued = INDEX if label == "index-only" else ""
        yield Case(
            "indexes",
            f"dir: {label}",
            text(default(sig(exact(f"{repo}:1"), "p256.pub"))),
            directory(label),
            label,
            argued,
        )
        yield Case(
            "indexes", f"docker: {label}", text(default(sig(key="p256.pub"))), f"docker://{repo}:1", label, argued
        )
    yield Case("indexes", "accepts everything", text(default(ACCEPT)), directory("index-unsigned"), "index-unsigned")
    yield Case("indexes", "rejects everything", text(default(REJECT)), directory("instance-only"), "instance-only")
