"""Signatures as they are found, before they are verified.

There are three kinds. Here they are just bytes and text: a value of these types does not prove who made it. Not in
scope: where a signature was found, and whether it is valid.
"""

from __future__ import annotations

from typing import TypeAlias

from arstore.values import NamedTuple

LARGEST = 4 << 20
"""Bytes that a signature, or a part of one, may have: the limit of other tools."""
MOST = 128
"""Signatures of one image that are examined: the limit of other tools."""


class SimpleSignature(NamedTuple):
    """An OpenPGP message around a payload: "simple signing", as made by `skopeo copy --sign-by`."""

    blob: bytes


class SigstoreSignature(NamedTuple):
    """A payload with a detached signature: cosign's form up to version 2, and skopeo's sigstore form.

    `signature` is base64; `certificate` and `chain` are PEM; `rekor` is the JSON of a signed entry timestamp. The last
    three are "" if missing.
    """

    payload: bytes
    signature: str
    certificate: str = ""
    chain: str = ""
    rekor: str = ""


class Bundle(NamedTuple):
    """A sigstore bundle, version 0.3, as JSON: cosign's form from version 3 on. It does not name a repository."""

    raw: bytes


Signature: TypeAlias = SimpleSignature | SigstoreSignature | Bundle
