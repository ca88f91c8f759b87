"""Key files, and the fingerprint of a policy with them."""

import os

import pytest

from arstore.errors import KeyFileError
from arstore.trust.policy.document import read
from arstore.trust.policy.material import LARGEST, Material, sources
from arstore.trust.policy.model import KeySource


def test_files_and_data(tmp_path):
    (tmp_path / "k").write_bytes(b"key")
    path = str(tmp_path / "k")
    assert Material().load(KeySource("keyPath", paths=(path,))) == ((path, b"key"),)
    assert Material().load(KeySource("keyDatas", data=(b"a", b"b"))) == (("keyDatas", b"a"), ("keyDatas", b"b"))


def test_a_file_is_read_once(tmp_path):
    (tmp_path / "k").write_bytes(b"key")
    source = KeySource("keyPath", paths=(str(tmp_path / "k"),))
    material = Material()
    assert material.load(source)[0][1] == b"key"
    (tmp_path / "k").unlink()
    assert material.load(source)[0][1] == b"key"


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (os.mkfifo, "is not a regular file"),
        (os.mkdir, "is not a regular file"),
        (lambda path: os.symlink("/dev/zero", path), "is not a regular file"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (
            lambda path: os.truncate((path.write_bytes(b"") and path) or path, LARGEST + 1),
            "has more than 4194304 bytes",
        ),
        (lambda path: None, "no such file"),
    ],
)
def test_what_cannot_be_a_key_file(tmp_path, make, why):
    make(tmp_path / "k")
    material = Material()
    for _ in range(2):
        with pytest.raises(KeyFileError, match=why):
            material.load(KeySource("keyPath", paths=(str(tmp_path / "k"),)))


def test_the_largest_file_is_read(tmp_path):
    (tmp_path / "k").write_bytes(b"k" * LARGEST)
    assert len(Material().load(KeySource("keyPath", paths=(str(tmp_path / "k"),)))[0][1]) == LARGEST


POLICY = b"""{"default": [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "%b/1"}],
 "transports": {"docker": {"": [{"type": "reject"},
  {"type": "sigstoreSigned", "keyPaths": ["%b/2", "%b/3"], "rekorPublicKeyPath": "%b/4"}],
  "a": [{"type": "sigstoreSigned", "fulcio": {"caPath": "%b/5", "oidcIssuer": "i", "subjectEmail": "e"},
         "rekorPublicKeyData": "eA=="}],
  "b": [{"type": "sigstoreSigned", "pki": {"caRootsPath": "%b/6", "subjectEmail": "e"}},
        {"type": "sigstoreSigned", "pki": {"caRootsData": "eA==", "caIntermediatesPath": "%b/7", "subjectEmail": "e"}}],
  "c": [{"type": "signedBaseLayer", "baseLayerIdentity": {"type": "matchExact"}}]}}}"""


def policy(place, **more):
    return read(POLICY.replace(b"%b", os.fsencode(place)), "POLICY", **more)


def test_every_source_of_keys_is_found(tmp_path):
    paths = [path for source in sources(policy(tmp_path)) for path in source.paths]
    assert sorted(paths) == [f"{tmp_path}/{number}" for number in range(1, 8)]
    assert [source.data for source in sources(policy(tmp_path)) if source.data] == [(b"x",), (b"x",)]


def test_the_fingerprint_covers_every_file(tmp_path):
    seen = {Material().fingerprint(policy(tmp_path))}
    assert Material().fingerprint(policy(tmp_path)) in seen
    for number in range(1, 8):
        for content in (b"one", b"two"):
            (tmp_path / str(number)).write_bytes(content)
            found = Material().fingerprint(policy(tmp_path))
            assert found not in seen
            seen.add(found)
    assert Material().fingerprint(policy(tmp_path, explicit=True)) not in seen
