"""The contract of `ImageSource`, run on every medium: the same image through each gives the same config and layers."""

import hashlib
import io
import os
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from support import images, registry, remote

from arstore.digest import Digest, VerifiedReader
from arstore.errors import MissingBlobError
from arstore.oci.docker_reference import DockerReference
from arstore.oci.manifest import Manifest
from arstore.registry.access import Access, RegistryOptions
from arstore.registry.configuration.places import Places
from arstore.transport.detect import open_source, open_source_fd
from arstore.transport.media.base import Medium
from arstore.transport.media.directory import Directory
from arstore.transport.registry import RegistrySource
from arstore.transport.source import attached_to

PICTURE = images.example(["localhost/example:1", "localhost/example:2"])


def from_layout(path, spool):
    return open_source(str(images.write_layout(path / "layout", PICTURE)), spool)


def from_layout_link(path, spool):
    images.write_layout(path / "layout", PICTURE)
    (path / "link").symlink_to("layout")
    return open_source(f"oci:{path / 'link'}", spool)


def from_oci_archive(path, spool):
    return open_source(str(images.write_oci_archive(path / "x", PICTURE)), spool)


def from_dir(path, spool):
    return open_source(str(images.write_dir(path / "dir", PICTURE)), spool)


def from_dir_archive(path, spool):
    return open_source(str(images.write_archive(path / "x", images.dir_files(PICTURE))), spool)


def from_descriptor(path, spool):
    fd = os.open(images.write_oci_archive(path / "x", PICTURE), os.O_RDONLY)
    try:
        return open_source_fd(fd, "x", spool)
    finally:
        os.close(fd)


def from_descriptor_of_layout(path, spool):
    fd = os.open(images.write_layout(path / "x", PICTURE), os.O_RDONLY)
    try:
        return open_source_fd(fd, "x", spool)
    finally:
        os.close(fd)


def from_bytes(path, spool):
    return open_source("-", spool, io.BytesIO(images.tar(images.layout_files(PICTURE))))


def from_redirected_file(path, spool):
    with open(images.write_oci_archive(path / "x", PICTURE), "rb") as stream:
        return open_source("-", spool, stream)


def from_fifo(path, spool):
    os.mkfifo(path / "fifo")
    data = images.compressed(images.tar(images.layout_files(PICTURE)), "gzip")
    writer = threading.Thread(target=lambda: (path / "fifo").write_bytes(data))
    writer.start()
    try:
        return open_source(str(path / "fifo"), spool)
    finally:
        writer.join()


def from_pipe(path, spool):
    archive = images.write_docker_archive(path / "x", PICTURE)
    with subprocess.Popen(["cat", archive], stdout=subprocess.PIPE) as cat:
        return open_source("-", spool, cat.stdout)


class FromNetwork(remote.Remote):
    """A source that ends its server when it is closed."""

    def __init__(self, path):
        self._stack = ExitStack()
        self.server = self._stack.enter_context(remote.served(path, PICTURE))
        super().__init__(self.server.port, (PICTURE,))

    def __exit__(self, *_):
        self._stack.close()


class FromRegistry(RegistrySource):
    """A source that ends its registry when it is closed."""

    def __init__(self, path):
        self._stack = ExitStack()
        self.registry = self._stack.enter_context(registry.served())
        self.registry.put_image("example", "1", PICTURE)
        options = RegistryOptions(tls_verify=False, places=Places({"HOME": str(path)}, 1000, str(path)))
        super().__init__(DockerReference.parse(f"{self.registry.host}/example:1"), Access(options))

    def close(self):
        super().close()
        self._stack.close()


def from_network(path, _spool):
    return FromNetwork(path)


def from_registry(path, _spool):
    return FromRegistry(path)


def from_streams(_path, _spool):
    return remote.Streams(PICTURE)


def compressed_archive(compression):
    def opened(path, spool):
        return open_source(str(images.write_oci_archive(path / "x", PICTURE, compression=compression)), spool)

    return opened


def docker_archive(style, compression):
    def opened(path, spool):
        archive = images.write_docker_archive(path / "x", PICTURE, style=style, compression=compression)
        return open_source(str(archive), spool)

    return opened


MEDIA = {
    **{name.removeprefix("from_"): way for name, way in list(globals().items()) if name.startswith("from_")},
    **{f"oci_archive_{compression}": compressed_archive(compression) for compression in images.COMPRESSIONS[1:]},
    **{
        f"docker_{style}_{compression}": docker_archive(style, compression)
        for style in ("podman", "old", "hybrid")
        for compression in ("none", "zstd")
    },
}


@pytest.fixture(params=MEDIA)
def source(request, tmp_path, spool):
    with MEDIA[request.param](tmp_path, spool) as source:
        yield source


def manifest_of(source):
    (image,) = source.images()
    blob = source.open_manifest(image.descriptor)
    raw = blob.read()
    blob.close()
    assert (Digest.of(raw), len(raw)) == (image.descriptor.digest, image.descriptor.size)
    return Manifest.parse(raw, media_type=image.descriptor.media_type)


def read_verified(source, descriptor):
    blob = source.open_blob(descriptor.digest)
    try:
        return b"".join(VerifiedReader(blob, descriptor.digest, descriptor.size))
    finally:
        blob.close()


def plain(layer):
    import gzip

    return gzip.decompress(layer) if layer.startswith(b"\x1f\x8b") else layer


def test_one_image_is_listed_with_its_names(source):
    (image,) = source.images()
    if isinstance(source, FromRegistry):
        assert image.names == (f"{source.registry.host}/example:1",)
        return
    keeps_no_names = source.what.endswith("dir") or "Dir" in type(source).__name__
    assert set(image.names) <= {"localhost/example:1", "localhost/example:2", "dir:latest", "x:latest"}
    assert keeps_no_names or image.names == ("localhost/example:1", "localhost/example:2")
    assert source.images() == source.images()


def test_the_config_is_the_same_bytes_everywhere(source):
    manifest = manifest_of(source)
    assert read_verified(source, manifest.config) == PICTURE.config


def test_the_layers_have_the_same_content_everywhere(source):
    manifest = manifest_of(source)
    layers = [plain(read_verified(source, layer)) for layer in manifest.layers]
    assert [images.sha256(layer) for layer in layers] == PICTURE.diff_ids


def test_a_place_shows_the_same_bytes(source):
    for layer in manifest_of(source).layers:
        place = source.place(layer.digest)
        if place is not None:
            assert images.sha256(os.pread(place.fd, place.length, place.offset)) == layer.digest


def test_an_archive_has_a_place_for_every_layer(source):
    is_archive = isinstance(source, Medium) and not isinstance(source._container, Directory)
    for layer in manifest_of(source).layers:
        assert (source.place(layer.digest) is not None) == is_archive


def test_asking_for_a_place_opens_nothing(source, monkeypatch):
    layers = manifest_of(source).layers
    source.images()
    before = len(os.listdir("/proc/self/fd"))
    asked = source.server.requests() if isinstance(source, FromNetwork) else []

    def refuse(*_, **__):
        raise AssertionError("opened")

    for name in ("open", "stat", "lstat"):
        monkeypatch.setattr(os, name, refuse)
    for layer in layers:
        source.place(layer.digest)
    assert source.place(Digest.of(b"nobody has this")) is None
    monkeypatch.undo()
    assert len(os.listdir("/proc/self/fd")) == before
    assert not isinstance(source, FromNetwork) or source.server.requests() == asked
    assert not isinstance(source, FromRegistry) or len(source.registry.log) == 2


def test_what_is_there_is_not_read_to_know_it(source):
    manifest = manifest_of(source)
    for blob in (manifest.config, *manifest.layers):
        source.require_blob(blob.digest)
    with pytest.raises(MissingBlobError, match="does not hold the blob sha256:"):
        source.require_blob(Digest.of(b"nobody has this"))
    if isinstance(source, FromRegistry):
        assert [one.path for one in source.registry.asked("GET", "/example/")] == ["/v2/example/manifests/1"]
    if isinstance(source, FromNetwork):
        assert [one.path for one in source.server.requests("GET")] == [f"/manifests/{PICTURE.digest}"]


def test_reads_are_bounded_and_end(source):
    layer = manifest_of(source).layers[0]
    blob = source.open_blob(layer.digest)
    parts = [blob.read(100)]
    while parts[-1]:
        assert len(parts[-1]) <= 100
        parts.append(blob.read(100))
    assert blob.read(100) == b""
    assert images.sha256(b"".join(parts)) == layer.digest
    blob.close()
    blob.close()


def test_several_blobs_are_read_at_once(source):
    layers = manifest_of(source).layers * 4

    def digest(layer):
        blob = source.open_blob(layer.digest)
        hasher = hashlib.sha256()
        while data := blob.read(64):
            hasher.update(data)
        blob.close()
        return f"sha256:{hasher.hexdigest()}"

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(digest, layers)) == [layer.digest for layer in layers]


def test_a_blob_can_be_opened_twice(source):
    layer = manifest_of(source).layers[0]
    one, two = source.open_blob(layer.digest), source.open_blob(layer.digest)
    assert one.read(10) == two.read(10)
    one.close()
    assert two.read(10)
    two.close()


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_blob_that_is_not_there_is_missing(source, algorithm):
    with pytest.raises(MissingBlobError, match=f"does not hold the blob {algorithm}:"):
        source.open_blob(Digest.of(b"nobody has this", algorithm))


def test_sources_are_named_for_people(source):
    assert source.what
    assert source.what.isprintable()


def test_nothing_is_attached_to_a_plain_image(source):
    (image,) = source.images()
    assert list(attached_to(source, image.descriptor.digest)) == []
    assert list(attached_to(source, Digest("sha256:" + "0" * 64))) == []
