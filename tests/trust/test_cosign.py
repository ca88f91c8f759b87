"""Manifests that carry signatures: written signatures read back the same, and existing ones stay."""

import json

import pytest
from support.signing import MANIFEST, PAYLOAD, new_key, signed

from arstore.digest import Digest
from arstore.errors import SignatureError
from arstore.oci.document import encode
from arstore.trust import cosign
from arstore.trust.signature import Bundle
from arstore.trust.signing.sign import sign_bundle


@pytest.fixture(scope="module")
def key():
    return new_key()


def test_the_tag():
    assert cosign.tag_of(MANIFEST) == f"sha256-{MANIFEST.hex}.sig"


def test_signatures_come_out_as_they_went_in(key):
    wanted = [signed(key), signed(key, b"{}", certificate="C", chain="D", rekor="R")]
    carrier = cosign.carry(wanted)
    blobs = {Digest.of(blob): blob for blob in carrier.blobs}
    slots = cosign.read_slots(carrier.manifest)
    assert [cosign.signature_in(slot, blobs[slot.digest]) for slot in slots] == wanted
    document = json.loads(carrier.manifest)
    config = json.loads(blobs[document["config"]["digest"]])
    assert config["rootfs"]["diff_ids"] == [str(Digest.of(one.payload)) for one in wanted]
    assert carrier.digest == Digest.of(carrier.manifest)


def test_one_more_leaves_the_others_as_they_are(key):
    first = cosign.carry([signed(key)])
    document = json.loads(first.manifest)
    document["annotations"] = {"of": "somebody"}
    document["layers"][0]["annotations"]["dev.sigstore.cosign/rfc3161timestamp"] = "kept"
    document["layers"].append({"mediaType": "text/plain", "digest": str(MANIFEST), "size": 1})
    second = cosign.add(encode(document), signed(key, b"{}"))
    found = json.loads(second.manifest)
    assert found["layers"][:2] == document["layers"]
    assert len(found["layers"]) == 3
    assert found["annotations"] == {"of": "somebody"}
    assert second.blobs[1:] == (b"{}",)
    assert json.loads(second.blobs[0])["rootfs"]["diff_ids"] == [layer["digest"] for layer in found["layers"]]


def test_one_that_is_there_is_not_added_again(key):
    one = signed(key)
    first = cosign.carry([one])
    assert cosign.add(first.manifest, one) == cosign.Carrier(first.manifest, ())


def test_a_bundle_is_a_referrer_of_its_image(key):
    subject = b'{"schemaVersion": 2}'
    bundle = sign_bundle(key, Digest.of(subject))
    carrier = cosign.carry_bundle(bundle, cosign.MANIFEST, subject, "2026-11-29T00:00:00Z")
    document = json.loads(carrier.manifest)
    assert document["subject"] == {
        "mediaType": cosign.MANIFEST,
        "digest": str(Digest.of(subject)),
        "size": len(subject),
    }
    assert document["artifactType"] == cosign.BUNDLE
    (slot,) = cosign.read_bundle_slots(carrier.manifest)
    assert cosign.signature_in(slot, carrier.blobs[1]) == bundle
    assert cosign.read_slots(carrier.manifest) == ()
    assert cosign.read_bundle_slots(cosign.carry([signed(key)]).manifest) == ()


def test_a_blob_of_another_digest_is_refused(key):
    carrier = cosign.carry([signed(key)])
    (slot,) = cosign.read_slots(carrier.manifest)
    with pytest.raises(SignatureError):
        cosign.signature_in(slot, PAYLOAD[:-1] + b" ")
    assert isinstance(cosign.signature_in(slot._replace(media_type=cosign.BUNDLE), PAYLOAD), Bundle)
