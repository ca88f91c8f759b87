"""Payloads that the trusted key has signed, but that lack required content."""

from __future__ import annotations

import json

from support.signing import MANIFEST, NAME, PAYLOAD, signed
from trust.attacking.world import Attack

from arstore.trust.signature import LARGEST

_KIND = "payload"
_GOOD = json.loads(PAYLOAD)


def _changed(path, value=None, *, drop=False):
    """The good payload with the member at *path* (keys with dots between) replaced, or dropped."""
    document = json.loads(PAYLOAD)
    *way, last = path.split("/")
    place = document
    for key in way:
        place = place[key]
    if drop:
        del place[last]
    else:
        place[last] = value
    return json.dumps(document).encode()


def _replaced(old, new):
    assert old in PAYLOAD
    return PAYLOAD.replace(old, new)


_IMAGE = "critical/image/docker-manifest-digest"
_NAME = "critical/identity/docker-reference"
_PAYLOADS = {
    "of the type that OpenPGP messages have": (_changed("critical/type", "atomic container signature"), ""),
    "of an unknown type": (_changed("critical/type", "anything"), ""),
    "of the right type in capitals": (_changed("critical/type", "COSIGN CONTAINER IMAGE SIGNATURE"), ""),
    "without a type": (_changed("critical/type", drop=True), ""),
    "without `critical`": (_changed("critical", drop=True), ""),
    "without `optional`": (_changed("optional", drop=True), ""),
    "with an unknown member of `critical`": (_changed("critical/more", 1), ""),
    "with a member next to `critical`": (_changed("more", {}), ""),
    "with a second digest in `image`": (_changed("critical/image/digest", str(MANIFEST)), ""),
    "with a second name in `identity`": (_changed("critical/identity/name", NAME), ""),
    "with the digest twice": (
        _replaced(
            b'{"docker-manifest-digest":',
            b'{"docker-manifest-digest":"sha256:' + b"0" * 64 + b'","docker-manifest-digest":',
        ),
        "CVE-2021-41190 (its kind)",
    ),
    "with `critical` twice": (_replaced(b'{"critical":', b'{"critical":{},"critical":'), ""),
    "with both `Critical` and `critical`": (_changed("Critical", {}), ""),
    "with the name's key in capitals": (_replaced(b"docker-reference", b"Docker-Reference"), ""),
    "with a digest in capitals": (_changed(_IMAGE, str(MANIFEST).upper().replace("SHA256", "sha256")), ""),
    "with a digest of MD5": (_changed(_IMAGE, "md5:" + "0" * 32), ""),
    "with a digest that is a path": (_changed(_IMAGE, "sha256:../../../../etc/passwd"), "CVE-2024-3727"),
    "with a digest that ends in a newline": (_changed(_IMAGE, f"{MANIFEST}\n"), ""),
    "with a digest of null": (_changed(_IMAGE, None), ""),
    "with a list of digests": (_changed(_IMAGE, [str(MANIFEST)]), ""),
    "with an empty name": (_changed(_NAME, ""), ""),
    "with a name of null": (_changed(_NAME, None), ""),
    "with a number for a name": (_changed(_NAME, 7), ""),
    "with a NUL in its name": (_changed(_NAME, "example.org/app:1\0.evil.example"), ""),
    "with a list for `optional`": (_changed("optional", []), ""),
    "with a fraction of a second": (_changed("optional/timestamp", 1.5), ""),
    "with true for a time": (_changed("optional/timestamp", True), ""),
    "with a time beyond all limits": (_changed("optional/timestamp", 1e300), ""),
    "with a number for its creator": (_changed("optional/creator", 7), ""),
    "with trailing data": (PAYLOAD + b"{}", ""),
    "that is two documents": (PAYLOAD + PAYLOAD, ""),
    "with a byte order mark": (b"\xef\xbb\xbf" + PAYLOAD, ""),
    "in UTF-16": (PAYLOAD.decode().encode("utf-16"), ""),
    "with a trailing NUL": (PAYLOAD + b"\0", ""),
    "with half a surrogate pair": (_replaced(b'"tests"', b'"\\ud800"'), ""),
    "with NaN": (_replaced(b"1780000000", b"NaN"), ""),
    "with a number of a thousand digits": (_replaced(b"1780000000", b"9" * 1000), "CVE-2020-10735"),
    "nested a million deep": (b"[" * 1_000_000, ""),
    "nested in `optional`": (_replaced(b'"tests"', b"[" * 5000 + b"]" * 5000), ""),
    "that is empty": (b"", ""),
    "that is a list": (b"[]", ""),
    "that is not JSON": (b"sha256:" + b"0" * 64, ""),
    "of more than 4 MiB": (PAYLOAD + b" " * LARGEST, ""),
    "of 4 MiB of empty lists": (b"[" + b"[]," * (LARGEST // 3 - 2) + b"[]]", ""),
}

ATTACKS = [
    Attack(_KIND, name, lambda world, payload=payload: world.says(payload), known)
    for name, (payload, known) in _PAYLOADS.items()
]

_HINTED = [
    Attack(
        "another payload",
        "one byte more than was signed",
        lambda w: w.by_key(w.good()._replace(payload=PAYLOAD + b" ")),
    ),
    Attack(
        "another payload",
        "another digest than was signed",
        lambda w: w.by_key(w.good()._replace(payload=PAYLOAD.replace(MANIFEST.hex[:8].encode(), b"00000000"))),
        "CVE-2026-24122 (its kind)",
    ),
    Attack(
        "another payload",
        "another name than was signed",
        lambda w: w.by_key(w.good()._replace(payload=PAYLOAD.replace(b"app:1", b"app:2"))),
    ),
    Attack(
        "another payload",
        "the signature of another payload",
        lambda w: w.by_key(w.good()._replace(signature=signed(w.key, b"{}").signature)),
    ),
]
ATTACKS += _HINTED
