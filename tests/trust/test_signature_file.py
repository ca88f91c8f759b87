"""Files of signatures."""

import base64
import json

import pytest

from arstore.errors import SignatureError
from arstore.trust.signature import SigstoreSignature, SimpleSignature
from arstore.trust.signature_file import LARGEST_FILE, PAYLOAD, read

NOTES = {
    "dev.cosignproject.cosign/signature": "c2ln",
    "dev.sigstore.cosign/certificate": "CERT",
    "dev.sigstore.cosign/chain": "CHAIN",
    "dev.sigstore.cosign/bundle": "SET",
    "other": "x",
}


def sigstore(**members):
    whole = {"mimeType": PAYLOAD, "payload": base64.b64encode(b"{}").decode(), "annotations": NOTES}
    return b"\0sigstore-json\n" + json.dumps({**whole, **members}).encode()


def test_forms():
    assert read(b"\x90message", "f") == SimpleSignature(b"\x90message")
    assert read(b"\0simple-signing\n\x90message", "f") == SimpleSignature(b"\x90message")
    assert read(sigstore(), "f") == SigstoreSignature(b"{}", "c2ln", "CERT", "CHAIN", "SET")
    assert read(sigstore(annotations=None), "f") == SigstoreSignature(b"{}", "")
    assert read(sigstore(annotations={"dev.sigstore.cosign/chain": 7}), "f") == SigstoreSignature(b"{}", "")
    assert read(sigstore(mimeType="application/vnd.in-toto+json"), "f") is None
    assert read(b"", "f") == SimpleSignature(b"")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\0", "has the form"),
        (b"\0simple-signing", "has the form"),
        (b"\0sigstore-json", "has the form"),
        (b"\0other\nx", "has the form b'other'"),
        (b"\0sigstore-json\n", "is empty"),
        (b"\0sigstore-json\n[]", "not a JSON object"),
        (sigstore(payload="*"), "payload: is not base64"),
        (sigstore(payload="eA=="[:-1]), "payload: is not base64"),
        (sigstore(payload=1), "payload: is a number"),
        (sigstore(PayLoad=""), "spelt payload"),
        (sigstore()[:-1] + b',"payload":"eA=="}', "twice"),
        (b"\x90" + bytes(LARGEST_FILE), "has more than"),
    ],
)
def test_what_is_refused(data, why):
    with pytest.raises(SignatureError, match=why.replace("*", ".")) as caught:
        read(data, "f")
    assert caught.value.what == "f"


def test_the_largest_file():
    assert read(b"\x90" + bytes(LARGEST_FILE - 1), "f").blob[:1] == b"\x90"
