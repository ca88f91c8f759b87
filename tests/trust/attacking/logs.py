"""Entries of a log that are about something else, or were not signed by the log."""

from __future__ import annotations

import json

from support.signing import NOW, PAYLOAD, base64_of, entry, public_of, rsa_key
from trust.attacking.world import Attack

from arstore.trust.signature import SigstoreSignature
from arstore.trust.sigstore.verify import verify_with_fulcio, verify_with_keys

_KIND = "log entry"


def _changed(text, **members):
    """The entry with members replaced after the log has signed."""
    document = json.loads(text)
    document["Payload"] |= members
    return json.dumps(document)


def _certified_elsewhere(world):
    """An attacker's signature, with the victim's certificate and its entry in the log."""
    key, certificate = world.ca.issue()
    made = key.sign(b"what the victim signed")
    rekor = entry(world.log, certificate.encode(), made, b"what the victim signed")
    found = SigstoreSignature(PAYLOAD, base64_of(world.other.sign(PAYLOAD)), certificate, world.ca.chain, rekor)
    return verify_with_fulcio(found, world.fulcio, [world.log.public])


def _of_another_payload(world):
    """The log's entry is for another image's payload, with this signature and key."""
    made = world.key.sign(PAYLOAD)
    rekor = entry(world.log, world.key.public.pem(), made, b"the payload of another image")
    return world.by_key(SigstoreSignature(PAYLOAD, base64_of(made), rekor=rekor), log=True)


def _rsa_log(world):
    return verify_with_keys(world.good(rekor="{}"), [world.key.public], [public_of(rsa_key())])


_ENTRIES = {
    "none": (lambda w: w.by_key(w.good(), log=True), ""),
    "that is empty": (lambda w: w.by_key(w.good(rekor="{}"), log=True), ""),
    "about another payload": (_of_another_payload, "CVE-2022-36056"),
    "about the payload of another image": (
        lambda w: w.by_key(w.good(rekor=entry(w.log, w.key.public.pem(), w.key.sign(b"x"), b"x")), log=True),
        "CVE-2022-36056",
    ),
    "about another signature of the same payload": (
        lambda w: w.logged(signature=w.key.sign(PAYLOAD)),
        "CVE-2022-36056",
    ),
    "about another key": (lambda w: w.logged(signer=w.other.public.pem()), "CVE-2026-22703"),
    "about a certificate, where a key signed": (lambda w: w.logged(signer=w.ca.pem.encode()), "CVE-2026-22703"),
    "of the victim, with an attacker's signature": (_certified_elsewhere, "CVE-2022-36056"),
    "signed by another log": (lambda w: w.logged(log=w.other), ""),
    "signed by the signer": (lambda w: w.logged(log=w.key), ""),
    "with another time than the log signed": (
        lambda w: w.logged(text=lambda text: _changed(text, integratedTime=int(NOW.timestamp()) - 9)),
        "",
    ),
    "with another body than the log signed": (
        lambda w: w.logged(text=lambda text: _changed(text, body=base64_of(b"{}"))),
        "",
    ),
    "with another index than the log signed": (lambda w: w.logged(text=lambda text: _changed(text, logIndex=8)), ""),
    "with a member that the log did not sign": (lambda w: w.logged(unsigned={"more": 1}), ""),
    "with a member next to the signed part": (lambda w: w.logged(more={"more": 1}), ""),
    "of another kind": (lambda w: w.logged(kind="rekord"), ""),
    "of the kind dsse": (lambda w: w.logged(kind="dsse"), ""),
    "of the kind intoto": (lambda w: w.logged(kind="intoto"), ""),
    "of the version 0.0.2": (lambda w: w.logged(api_version="0.0.2"), ""),
    "of Rekor version 2": (
        lambda w: w.logged(
            text=lambda text: json.dumps({"logIndex": 1, "inclusionProof": {}, "canonicalizedBody": ""})
        ),
        "",
    ),
    "with a digest of SHA-1": (lambda w: w.logged(algorithm="sha1"), ""),
    "with a digest of SHA-512 by name": (lambda w: w.logged(algorithm="sha512"), ""),
    "of the time 0": (lambda w: w.logged(signed={"integratedTime": 0}), ""),
    "of a negative time": (lambda w: w.logged(signed={"integratedTime": -1}), ""),
    "of a time after the year 9999": (lambda w: w.logged(signed={"integratedTime": 1 << 50}), ""),
    "of a time with a fraction": (lambda w: w.logged(signed={"integratedTime": 1.5}), ""),
    "with an index that doubles cannot hold": (lambda w: w.logged(signed={"logIndex": (1 << 53) + 1}), ""),
    "with a body that is not base64": (lambda w: w.logged(signed={"body": "{}"}), ""),
    "with a body that is a list": (lambda w: w.logged(signed={"body": base64_of(b"[]")}), ""),
    "with two keys in one file": (lambda w: w.logged(signer=w.key.public.pem() * 2), ""),
    "with text before its key": (lambda w: w.logged(signer=b"x\n" + w.key.public.pem()), ""),
    "with the key's DER in place of PEM": (lambda w: w.logged(signer=w.key.public.der), ""),
    "without a timestamp": (
        lambda w: w.logged(text=lambda text: json.dumps({"Payload": json.loads(text)["Payload"]})),
        "",
    ),
    "with an empty timestamp": (
        lambda w: w.logged(text=lambda text: json.dumps(json.loads(text) | {"SignedEntryTimestamp": ""})),
        "",
    ),
    "with its key `payload` in small letters": (
        lambda w: w.logged(text=lambda text: text.replace('"Payload"', '"payload"')),
        "",
    ),
    "with its payload twice": (lambda w: w.logged(text=lambda text: text[:-1] + ', "Payload": {}}'), ""),
    "that is not JSON": (lambda w: w.logged(text=lambda text: text[:-1]), ""),
    "of 5 MiB": (lambda w: w.logged(text=lambda text: text + " " * (5 << 20)), ""),
    "of a log with an RSA key": (_rsa_log, ""),
}
ATTACKS = [Attack(_KIND, name, attempt, known) for name, (attempt, known) in _ENTRIES.items()]
