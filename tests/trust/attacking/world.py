"""Trusted keys and authorities of all attacks, and their signatures."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from support.gpg import PAST, Gpg
from support.signing import EMAIL, ISSUER, NOW, PAYLOAD, Ca, base64_of, entry, new_key, signed

from arstore.trust.signature import SigstoreSignature
from arstore.trust.sigstore.verify import Fulcio, Pki, verify_with_fulcio, verify_with_keys, verify_with_pki
from arstore.trust.sigstore.x509 import Roots, read_roots


class Attack(NamedTuple):
    """An attack of a class; `known` is its name elsewhere, such as a CVE."""

    kind: str
    name: str
    attempt: Callable[[World], object]
    known: str = ""


class World:
    """A key, a log, Fulcio and a PKI that are trusted, and others that are not."""

    def __init__(self) -> None:
        self.key, self.other = new_key(), new_key()
        self.log = new_key()
        self.root = Ca()
        self.ca = self.root.subordinate()
        self.roots = Roots(read_roots(self.root.pem.encode(), "roots"))
        self.fulcio = Fulcio(self.roots, ISSUER, EMAIL)

    def good(self, **parts: str) -> SigstoreSignature:
        """A good signature of the trusted key."""
        return signed(self.key, **parts)

    def by_key(self, signature: SigstoreSignature, *, log: bool = False) -> object:
        """Verify with the trusted key, and with the log if asked for."""
        return verify_with_keys(signature, [self.key.public], [self.log.public] if log else [])

    def says(self, payload: bytes) -> object:
        """Verify a payload that the trusted key has signed."""
        return self.by_key(signed(self.key, payload))

    def logged(self, payload: bytes = PAYLOAD, **odd: Any) -> object:
        """Verify a good signature of the trusted key with a log entry changed by *odd*."""
        made = self.key.sign(payload)
        names = ("log", "signer", "signature", "payload", "at")
        parts: dict[str, Any] = {
            "log": self.log,
            "signer": self.key.public.pem(),
            "signature": made,
            "payload": payload,
            "at": NOW,
        } | {name: odd.pop(name) for name in names if name in odd}
        text = entry(**parts, **odd)
        change = odd.get("text", lambda found: found)
        return self.by_key(SigstoreSignature(payload, base64_of(made), rekor=change(text)), log=True)

    def certified(self, ca: Ca | None = None, *, at: Any = NOW, chain: str | None = None, **options: Any) -> object:
        """Verify a signature with a certificate of Fulcio's."""
        ca = ca or self.ca
        key, certificate = ca.issue(**options)
        made = key.sign(PAYLOAD)
        rekor = entry(self.log, certificate.encode(), made, PAYLOAD, at)
        chain = ca.chain if chain is None else chain
        found = SigstoreSignature(PAYLOAD, base64_of(made), certificate, chain, rekor)
        return verify_with_fulcio(found, options.get("trusted", self.fulcio), [self.log.public])

    def privately(self, ca: Ca | None = None, *, email: str = EMAIL, hostname: str = "", **options: Any) -> object:
        """Verify a signature with a certificate of the private PKI."""
        ca = ca or self.ca
        key, certificate = ca.issue(**options)
        found = signed(key, certificate=certificate, chain=options.get("chain", ca.chain))
        return verify_with_pki(found, Pki(self.roots, email, hostname), options.get("now", NOW))

    @functools.cached_property
    def gpg(self) -> Gpg:
        """A gpg with the trusted key `good@example.org`, the stranger `other@example.org`, and keys with faults."""
        # Its socket has to fit into 108 bytes, so it is not below the test's directory.
        self._place = tempfile.TemporaryDirectory(prefix="gpg-")
        gpg = Gpg(Path(self._place.name) / "h")
        for name in ("good", "other", "revoked", "subkey"):
            gpg.new_key(f"{name}@example.org")
        gpg.new_subkey(gpg.fingerprint("subkey@example.org"))
        gpg.new_key("expired@example.org", expire="1d", time=PAST)
        gpg.new_key("old@example.org", time=PAST)
        gpg.new_key("expired-subkey@example.org", time=PAST)
        gpg.new_subkey(gpg.fingerprint("expired-subkey@example.org"), expire="1d", time=PAST)
        return gpg

    def close(self) -> None:
        """End all processes."""
        if "gpg" in self.__dict__:
            self.gpg.close()
            self._place.cleanup()
