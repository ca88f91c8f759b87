"""One pass over a blob: verified at every stage, kept as it came, built as announced, for every compression."""

from __future__ import annotations

import io
import os

import pytest
from support import images

from arstore.digest import Digest
from arstore.errors import ArstoreError, CompressionError, DigestMismatchError, SizeMismatchError, TruncatedError
from arstore.store.ingest.layer_pass import LayerPass, take_layer, verified_entries, write_all
from arstore.trees.directory.form import DirectoryFormat
from arstore.trees.erofs.form import ErofsFormat
from arstore.trees.needs import read_needs

MEMBERS = [images.directory("./"), images.file("a", b"content" * 5000), images.file("deep/b", b"b")]


def layer(compression="gzip", members=None):
    return images.layer(MEMBERS if members is None else members, compression)


def taken(one, tmp_path, data=None, tree=False, size=None, diff_id=None, report=lambda _count: None):
    if tree:
        (tmp_path / "tree").mkdir()
    work = LayerPass(
        Digest(one.digest),
        len(one.blob) if size is None else size,
        Digest(diff_id or one.diff_id),
        blob=str(tmp_path / "blob"),
        keep=True,
        forms=(DirectoryFormat(),) if tree else (),
        tree=str(tmp_path / "tree") if tree else "",
    )
    return take_layer(work, io.BytesIO(one.blob if data is None else data), report)


@pytest.fixture(autouse=True)
def no_descriptors_left():
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("compression", images.COMPRESSIONS)
def test_every_compression(tmp_path, compression):
    one = layer(compression)
    counts = []
    outcome = taken(one, tmp_path, report=counts.append)
    assert (tmp_path / "blob").read_bytes() == one.blob
    assert (outcome.tar_size, outcome.stat, outcome.denied) == (len(one.tar), None, "")
    assert sum(counts) == len(one.blob)


@pytest.mark.root
def test_a_tree(tmp_path):
    outcome = taken(layer(), tmp_path, tree=True)
    assert outcome.form == "directory"
    assert outcome.stat.size == 5000 * 7 + 1
    assert outcome.needs.implied == [b"deep"]
    assert read_needs(str(tmp_path / "tree")) == outcome.needs
    assert (tmp_path / "tree/fs/a").read_bytes() == b"content" * 5000


@pytest.mark.parametrize("tree", [False, pytest.param(True, marks=pytest.mark.root)])
@pytest.mark.parametrize("compression", images.COMPRESSIONS)
@pytest.mark.parametrize("place", [0, 1, 0.3, 0.9, -1])
def test_a_blob_that_ends_early(tmp_path, compression, place, tree):
    one = layer(compression, [images.file("a", os.urandom(40_000))])
    end = int(len(one.blob) * place) if isinstance(place, float) else place
    with pytest.raises((TruncatedError, CompressionError)):
        taken(one, tmp_path, one.blob[:end], tree=tree)


@pytest.mark.parametrize("compression", images.COMPRESSIONS)
def test_a_blob_that_goes_on(tmp_path, compression):
    one = layer(compression)
    with pytest.raises(SizeMismatchError):
        taken(one, tmp_path, one.blob + b"\0")


@pytest.mark.parametrize("compression", images.COMPRESSIONS)
def test_a_blob_that_was_altered(tmp_path, compression):
    one = layer(compression, [images.file("a", os.urandom(40_000))])
    data = bytearray(one.blob)
    data[len(data) // 2] ^= 1
    with pytest.raises((DigestMismatchError, CompressionError)):
        taken(one, tmp_path, bytes(data))


def test_another_diff_id(tmp_path):
    with pytest.raises(DigestMismatchError, match="diff ID"):
        taken(layer(), tmp_path, diff_id=images.sha256(b"other"))


@pytest.mark.parametrize("compression", images.COMPRESSIONS)
@pytest.mark.parametrize("more", [b"\0", b"\0" * 512, b"not padding" * 100])
def test_entries_of_a_blob_that_goes_on(tmp_path, compression, more):
    """Reading only the entries must detect it too: the size, the digest and the diff ID are verified in the end."""
    one = layer(compression)
    for data, size, diff_id in (
        (one.blob + more, len(one.blob), one.diff_id),
        (one.blob + more, len(one.blob + more), one.diff_id),
        (one.blob, len(one.blob), images.sha256(b"other")),
    ):
        wanted = pytest.raises((DigestMismatchError, SizeMismatchError, CompressionError))
        with wanted, verified_entries(io.BytesIO(data), Digest(one.digest), size, Digest(diff_id)) as entries:
            assert [entry.path for entry in entries]


def test_what_follows_the_end_of_the_tar_counts(tmp_path):
    tar = images.tar(MEMBERS)
    padded = images.layer(tar + bytes(10240) + b"anything", "gzip")
    assert taken(padded, tmp_path).tar_size == len(tar) + 10240 + 8


def test_members_of_gzip_and_frames_of_zstd(tmp_path):
    tar = images.tar(MEMBERS)
    for compression in ("gzip", "zstd"):
        parts = [images.compressed(tar[:700], compression), images.compressed(tar[700:], compression)]
        one = images.Layer(tar, b"".join(parts), compression)
        (tmp_path / compression).mkdir()
        assert taken(one, tmp_path / compression).tar_size == len(tar)


@pytest.mark.parametrize("tree", [False, pytest.param(True, marks=pytest.mark.root)])
def test_members_that_leave_the_tree(tmp_path, tree):
    with pytest.raises(ArstoreError):
        taken(layer(members=[images.file("../x")]), tmp_path, tree=tree)
    assert not (tmp_path.parent / "x").exists()


@pytest.mark.root
def test_a_host_that_permits_no_trees(tmp_path, monkeypatch):
    def refuse(*_arguments, **_more):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("arstore.trees.directory.extraction.Extraction.add", refuse)
    one = layer()
    outcome = taken(one, tmp_path, tree=True)
    assert outcome.stat is None
    assert "not permitted" in outcome.denied
    assert outcome.tar_size == len(one.tar)
    assert (tmp_path / "blob").read_bytes() == one.blob


class Failing(io.RawIOBase):
    """A blob of which so much can be read before the medium fails."""

    def __init__(self, data, most, error):
        self.data, self.left, self.error = io.BytesIO(data), most, error

    def read(self, size=-1):
        data = self.data.read(min(size, self.left) if size >= 0 else self.left)
        self.left -= len(data)
        if not data:
            raise self.error
        return data


@pytest.mark.root
@pytest.mark.parametrize("form", [DirectoryFormat(), ErofsFormat()])
@pytest.mark.parametrize("size", [20_000, 600_000])
@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), PermissionError(1, "not permitted")])
def test_a_blob_that_cannot_be_read_any_further_is_no_host_that_permits_no_trees(tmp_path, form, size, error):
    """A file server may fail so midway. The archive is not at fault either."""
    one = layer("none", [images.file(f"f{number}", os.urandom(size // 4)) for number in range(4)])
    (tmp_path / "tree").mkdir()
    work = LayerPass(
        Digest(one.digest),
        len(one.blob),
        Digest(one.diff_id),
        str(tmp_path / "blob"),
        True,
        (form,),
        f"{tmp_path}/tree",
    )
    with pytest.raises(PermissionError) as caught:
        take_layer(work, Failing(one.blob, len(one.blob) * 2 // 3, error), lambda _count: None)
    assert caught.value is error


def test_writing_goes_on_where_the_kernel_stopped():
    reading, writing = os.pipe()
    written = []
    real = os.write

    def short(fd, data):
        written.append(len(data))
        return real(fd, bytes(data[:3]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", short)
        write_all(writing, b"12345678")
    assert os.read(reading, 100) == b"12345678"
    assert written == [8, 5, 2]
    os.close(reading)
    os.close(writing)
