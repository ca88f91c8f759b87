"""`unpack` verifies every stored blob: an altered one ends it, and the files it made are removed again."""

from __future__ import annotations

import gzip

import pytest
from support import images

pytestmark = pytest.mark.root

FILE = b"the content of a file\n" * 4000


def altered(blob):
    """A tar of the same length with one byte of a file changed."""
    place = blob.index(FILE) + len(FILE) // 2
    return blob[:place] + bytes([blob[place] ^ 1]) + blob[place + 1 :]


def other_compression(blob):
    """The same tar by another gzip: the diff ID is right, the digest is wrong."""
    return gzip.compress(gzip.decompress(blob), 1)


def of_the_same_length(blob):
    """Compressed as before, with another time in gzip's header, which no reader of the tar sees."""
    return blob[:4] + b"\x01\x02\x03\x04" + blob[8:]


@pytest.mark.parametrize(
    ("compression", "change"),
    [
        ("none", altered),
        ("none", lambda blob: blob + b"\0" * 512),
        ("none", lambda blob: blob[:-512]),
        ("gzip", other_compression),
        ("gzip", of_the_same_length),
        ("gzip", lambda blob: blob + b"behind the end"),
        ("gzip", lambda blob: blob[:-1]),
    ],
)
@pytest.mark.parametrize("made", [False, True], ids=["a new directory", "an empty directory"])
def test_an_altered_blob(store, tmp_path, compression, change, made):
    layers = [
        images.layer([images.directory("./"), images.file("first", b"1")], "none"),
        images.layer([images.file("file", FILE)], compression),
        images.layer([images.file("last", b"3")], "none"),
    ]
    picture = images.image(*layers, names=["made:1"])
    store.ok("import", images.write_oci_archive(tmp_path / "made.tar", picture))
    path = store.root / "blobs/sha256" / layers[1].digest.partition(":")[2]
    path.write_bytes(change(path.read_bytes()))
    target = tmp_path / "unpacked"
    if made:
        target.mkdir()
    outcome = store.run("unpack", "made:1", target)
    assert outcome.status != 0
    assert layers[1].digest.partition(":")[2][:12] in outcome.err
    assert [*target.iterdir()] == [] if made else not target.exists()
