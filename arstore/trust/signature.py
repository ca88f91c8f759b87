"""Signatures as they are found, before anybody has looked into them.

Three kinds exist. None of them is more than bytes and text here: a value of these types says nothing about who made it.
Not in scope: where a signature was found, and whether it is good.
"""

from __future__ import annotations

from typing import TypeAlias

from arstore.values import NamedTuple

LARGEST = 4 << 20
"""Bytes that a signature may have, and each part of one: the limit of the other tools."""
MOST = 128
"""Signatures of one image that are looked at: the limit of the other tools."""


class SimpleSignature(NamedTuple):
    """An OpenPGP message around a payload: "simple signing", which `skopeo copy --sign-by` makes."""

    blob: bytes


class SigstoreSignature(NamedTuple):
    """A payload with a signature beside it: cosign's form up to version 2, and skopeo's sigstore form.

    `signature` is base64; `certificate` and `chain` are PEM, `rekor` is the JSON of a signed entry timestamp; each of
    the three is "" where there is none.
    """

    payload: bytes
    signature: str
    certificate: str = ""
    chain: str = ""
    rekor: str = ""


class Bundle(NamedTuple):
    """A sigstore bundle, version 0.3, as JSON: cosign's form from version 3 on. It names no repository."""

    raw: bytes


Signature: TypeAlias = SimpleSignature | SigstoreSignature | Bundle
