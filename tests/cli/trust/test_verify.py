"""`verify`: by the key alone, or with a name, in the store, in files and in registries."""

from __future__ import annotations

import pytest
from support import attachments, images
from support import signed as signing

from arstore.errors import KeyFileError, NotFoundError, SignatureError

ONE, TWO = signing.key(), signing.key()
PICTURE = images.example(names=["app:1"])


@pytest.fixture
def public(tmp_path):
    (tmp_path / "one.pub").write_bytes(ONE.public.pem())
    (tmp_path / "two.pub").write_bytes(TWO.public.pem())
    return {"one": tmp_path / "one.pub", "two": tmp_path / "two.pub"}


@pytest.fixture
def layout(tmp_path):
    made = images.write_layout(tmp_path / "layout", PICTURE)
    attachments.add_to_layout(made, signing.signature(ONE, PICTURE.digest))
    return made


def test_a_source(arstore, layout, public):
    result = arstore.ok("verify", "--key", public["one"], layout)
    assert result.text.split() == [PICTURE.digest, "app:1"]
    refused = arstore("verify", "--key", public["two"], layout)
    assert (refused.status, refused.out) == (SignatureError.exit_code, b"")


def test_an_image_of_the_store(arstore, layout, public):
    arstore.ok("import", layout)
    for name in ("app:1", "store:app:1", PICTURE.digest):
        arstore.ok("verify", "--key", public["one"], name)
    assert arstore("verify", "--key", public["two"], "app:1").status == SignatureError.exit_code


def test_the_name_is_compared_on_demand(arstore, layout, public):
    words = ("verify", "--key", public["one"], "--identity")
    for name in ("example.com/team/app:1", "example.com/team/app"):
        arstore.ok(*words, name, layout)
    for name in ("example.com/team/app:2", "example.com/team"):
        assert arstore(*words, name, layout).status == SignatureError.exit_code


def test_a_bundle_counts_by_its_key(arstore, public, tmp_path):
    layout = images.write_layout(tmp_path / "bundled", PICTURE)
    entry = {"mediaType": images.OCI_MANIFEST, "digest": PICTURE.digest, "size": len(PICTURE.manifest)}
    attachments.add_to_layout(layout, signing.bundle(ONE, entry, PICTURE.manifest))
    arstore.ok("verify", "--key", public["one"], layout)
    named = arstore("verify", "--key", public["one"], "--identity", "example.com/team/app:1", layout)
    assert named.status == SignatureError.exit_code


def test_json(arstore, layout, public):
    found = arstore.ok("verify", "--json", "--key", public["one"], layout).json
    assert found["verified"] is True
    assert found["images"][0]["digest"] == PICTURE.digest


def test_what_is_not_signed(arstore, public, tmp_path):
    layout = images.write_layout(tmp_path / "bare", PICTURE)
    refused = arstore("verify", "--key", public["one"], layout)
    assert refused.status == SignatureError.exit_code
    assert "there is none" in refused.err


def test_bad_keys(arstore, layout, tmp_path):
    (tmp_path / "bad").write_bytes(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    assert arstore("verify", "--key", tmp_path / "bad", layout).status in {
        KeyFileError.exit_code,
        SignatureError.exit_code,
    }
    assert arstore("verify", "--key", tmp_path / "none", layout).status == NotFoundError.exit_code
    assert arstore("verify", "--key", "/dev/zero", layout).status == KeyFileError.exit_code
