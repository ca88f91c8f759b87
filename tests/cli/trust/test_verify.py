"""`verify`: signatures of images in every form that holds some."""

import os

import pytest
from decisions import material
from decisions.making import APP

KEPT = material.load()


@pytest.fixture
def place(tmp_path):
    KEPT.write_keys(tmp_path / "keys")
    for name in ("bare", "sigstore", "bad-and-good", "other-digest"):
        KEPT.fixtures[name].write(tmp_path / "dir" / name)
    os.mkfifo(tmp_path / "fifo")
    return tmp_path


def test_a_good_signature(storeless, place):
    said = storeless.ok("verify", "--key", place / "keys/k1.pub", f"dir:{place}/dir/sigstore")
    assert f"sigstore: good: signed as {APP.rpartition('/')[0]}/" in said.text
    document = storeless.ok("verify", "--key", place / "keys/k1.pub", f"dir:{place}/dir/sigstore", "--json").json
    assert document["verified"] is True
    assert document["images"][0]["signatures"][0]["good"] is True


def test_one_good_signature_among_others(storeless, place):
    said = storeless.ok("verify", "--key", place / "keys/k1.pub", f"dir:{place}/dir/bad-and-good")
    assert "not good" in said.text
    assert ": good" in said.text


@pytest.mark.parametrize(
    ("name", "key", "why"),
    [
        ("bare", "k1.pub", "has no signature"),
        ("other-digest", "k1.pub", "none is good"),
        ("sigstore", "p256.pub", "none is good"),
    ],
)
def test_no_good_signature(storeless, place, name, key, why):
    said = storeless("verify", "--key", place / "keys" / key, f"dir:{place}/dir/{name}")
    assert said.status == 56
    assert why in said.err


@pytest.mark.parametrize(
    ("words", "status"),
    [((), 2), (("--key", "fifo"), 57), (("--key", "nowhere"), 3), (("--key", "dir/bare/manifest.json"), 57)],
)
def test_keys_that_cannot_be_used(storeless, place, words, status):
    paths = [place / word if word[0] != "-" else word for word in words]
    assert storeless("verify", *paths, f"dir:{place}/dir/sigstore").status == status
