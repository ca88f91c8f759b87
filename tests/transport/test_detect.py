import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import images

from arstore.errors import (
    ArstoreError,
    CompressionError,
    ManifestError,
    NotFoundError,
    TruncatedError,
    UnknownFormatError,
    UnsafePathError,
    UsageError,
)
from arstore.transport.detect import open_source, open_source_fd

PICTURE = images.example(["localhost/example:1"])
ARCHIVE = images.tar(images.layout_files(PICTURE))


def names_in(reference, spool, stdin=None):
    with open_source(str(reference), spool, stdin) as source:
        return [name for image in source.images() for name in image.names]


@pytest.mark.parametrize("name", ["x", "x.tar", "x.zip", "流水线.tar.gz", "a space", "new\nline", "-x", "a:b"])
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_the_name_of_a_file_says_nothing(tmp_path, spool, name, compression):
    path = images.write_oci_archive(tmp_path / name, PICTURE, compression=compression)
    assert names_in(path, spool) == ["localhost/example:1"]


def test_names_that_are_not_utf_8(tmp_path, spool):
    path = os.fsencode(tmp_path) + b"/\xe9\xff.tar"
    with open(path, "wb") as file:
        file.write(ARCHIVE)
    with open_source(os.fsdecode(path), spool) as source:
        assert source.what == f"{tmp_path}/\\xe9\\xff.tar"
        assert len(source.images()) == 1


LISTING = """
import os, sys
from arstore.transport.detect import open_source

class Spool:
    def create(self):
        return os.memfd_create("spool")

    def relieve(self, lacking):
        return 0

with open_source(sys.argv[1], Spool()) as source:
    print(ascii(source.what), [image.names for image in source.images()])
"""


PLAIN_C = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("locale", [PLAIN_C, {"LC_ALL": "C.UTF-8"}])
@pytest.mark.parametrize("name", ["流水线.tar.gz", "конвейер.tar.gz"])
def test_any_script_in_any_locale(tmp_path, locale, name):
    nameless = images.image(*PICTURE.layers)
    images.write_oci_archive(tmp_path / name, nameless, compression="gzip")
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, **locale, "PYTHONPATH": root}
    done = subprocess.run([sys.executable, "-c", LISTING, name.encode()], cwd=tmp_path, env=environment, check=True,
                          capture_output=True, text=True)  # fmt: skip
    assert done.stdout == f"{name!a} [()]\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\x7fELF" + bytes(2000), "an ELF program"),
        (b"PK\x03\x04" + bytes(2000), "a zip archive"),
        (b"hsqs" + bytes(2000), "a squashfs image"),
        (b"<!DOCTYPE html><html>", "an HTML page"),
        (b'{"a":1}', "a JSON document"),
        (b"\xfe\xfd" * 400, "not a tar archive"),
        (bytes(10240), "an empty tar archive"),
        (images.tar([images.file("etc/passwd"), images.file("bin/sh")]), "it has neither index.json nor manifest.json"),
        (images.tar([images.file("x/oci-layout"), images.file("x/index.json")]), "in its directory x, not at its top"),
        (images.tar([images.file("x")])[:512], "no end mark"),
    ],
)
def test_what_is_no_image_is_said(tmp_path, spool, content, said):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(UnknownFormatError, match=said):
        names_in(tmp_path / "x", spool)
    with pytest.raises(UnknownFormatError, match=f"standard input: .*{said}"):
        names_in("-", spool, io.BytesIO(content))


@pytest.mark.parametrize("compression", images.COMPRESSIONS[1:])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "inside empty"),
        (b"\x7fELF" + bytes(2000), "inside an ELF program"),
        (images.compressed(ARCHIVE, "gzip"), "inside compressed again"),
        (b"\xfe\xfd" * 400, "inside not a tar archive"),
        (b"PK\x03\x04" + bytes(2000), "a zip archive"),
    ],
)
def test_what_is_in_a_compressed_file_is_said(tmp_path, spool, compression, content, said):
    (tmp_path / "x").write_bytes(images.compressed(content, compression))
    with pytest.raises(UnknownFormatError, match=said):
        names_in(tmp_path / "x", spool)


def test_compressions_that_are_not_read_are_named(tmp_path, spool):
    (tmp_path / "x").write_bytes(b"\x04\x22\x4d\x18" + bytes(2000))
    with pytest.raises(CompressionError, match="lz4"):
        names_in(tmp_path / "x", spool)


def test_directories_of_something_else(tmp_path, spool):
    with pytest.raises(UnknownFormatError, match="neither an OCI image layout"):
        names_in(tmp_path, spool)
    (tmp_path / "index.json").write_bytes(b"{}")
    with pytest.raises(ManifestError, match="neither an image manifest nor an index"):
        names_in(tmp_path, spool)
    (tmp_path / "index.json").unlink()
    (tmp_path / "oci-layout").write_bytes(images.LAYOUT)
    with pytest.raises(UnknownFormatError, match=r"with oci-layout, but without the index\.json"):
        names_in(tmp_path, spool)


@pytest.mark.parametrize("reference", ["missing.tar", "missing/x.tar", "oci:missing", "docker-archive:missing.tar:a:1"])
def test_what_does_not_exist_is_not_found(tmp_path, spool, monkeypatch, reference):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFoundError, match=r"^missing(/x)?(\.tar)?: no such file or directory"):
        names_in(reference, spool)


@pytest.mark.parametrize(
    ("transport", "kind"),
    [
        ("oci", "an OCI image layout in a tar archive, not an OCI image layout in a directory"),
        ("docker-archive", "an OCI image layout in a tar archive, not a docker-archive"),
        ("dir", "an OCI image layout in a tar archive, not a dir: directory"),
    ],
)
def test_a_transport_that_does_not_fit_is_said(tmp_path, spool, transport, kind):
    path = images.write_oci_archive(tmp_path / "x", PICTURE)
    if transport == "docker-archive":
        kind = "tar archive"
    with pytest.raises(UnknownFormatError, match=kind):
        names_in(f"{transport}:{path}", spool)


def test_a_layout_is_no_archive(tmp_path, spool):
    path = images.write_layout(tmp_path / "x", PICTURE)
    with pytest.raises(UnknownFormatError, match="write oci: before its path"):
        names_in(f"oci-archive:{path}", spool)


def test_standard_input_is_descriptor_0(tmp_path):
    listing = LISTING.replace("sys.argv[1]", "'-'")
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", listing]
    environment = {**os.environ, "PYTHONPATH": root}
    piped = subprocess.check_output(command, input=images.compressed(ARCHIVE, "xz"), env=environment)
    with open(images.write_oci_archive(tmp_path / "x", PICTURE), "rb") as file:
        redirected = subprocess.check_output(command, stdin=file, env=environment)
    assert piped == redirected == b"'standard input' [('localhost/example:1',)]\n"


def test_a_stream_that_was_begun_is_read_from_where_it_stands(tmp_path, spool):
    (tmp_path / "x").write_bytes(b"before" + ARCHIVE)
    with open(tmp_path / "x", "rb") as stream:
        assert stream.read(6) == b"before"
        assert names_in("-", spool, stream) == ["localhost/example:1"]


def test_a_redirected_file_is_read_in_place(tmp_path, spool):
    with open(images.write_oci_archive(tmp_path / "x", PICTURE), "rb") as stream:
        assert names_in("-", spool, stream) == ["localhost/example:1"]
    assert spool.created == 0


def test_streams_have_no_file_name(tmp_path, spool):
    nameless = images.tar(images.layout_files(images.image(*PICTURE.layers)))
    assert names_in("-", spool, io.BytesIO(nameless)) == []


def test_a_descriptor_stays_the_callers(tmp_path, spool):
    nameless = images.image(*PICTURE.layers)
    fd = os.open(images.write_oci_archive(tmp_path / "x", nameless), os.O_RDONLY)
    with open_source_fd(fd, "left behind", spool, "app.tar") as source:
        assert (source.what, source.images()[0].names) == ("left behind", ("app:latest",))
    with open_source_fd(fd, "left behind", spool) as source:
        assert source.images()[0].names == ()
    os.close(fd)


def test_descriptors_of_anything_else_are_refused(spool):
    read, write = os.pipe()
    try:
        with pytest.raises(UnsafePathError, match="neither a regular file nor a directory"):
            open_source_fd(read, "pipe", spool)
    finally:
        os.close(read)
        os.close(write)


def test_a_registry_is_asked_nothing_before_its_image_is_wanted(spool):
    with open_source("docker://registry.invalid/a", spool) as source:
        assert (source.what, source.is_remote) == ("docker://registry.invalid/a:latest", True)
    with pytest.raises(UsageError):
        open_source("store:busybox", spool)


@pytest.mark.parametrize("compression", images.COMPRESSIONS)
def test_an_archive_that_is_cut_anywhere(tmp_path, spool, compression):
    whole = images.compressed(ARCHIVE, compression)
    for length in sorted({1, 100, 511, 600, len(whole) // 3, len(whole) // 2}):
        (tmp_path / "x").write_bytes(whole[:length])
        with pytest.raises((TruncatedError, UnknownFormatError, CompressionError)):
            names_in(tmp_path / "x", spool)
    (tmp_path / "x").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TruncatedError):
        names_in(tmp_path / "x", spool)


def test_garbage_after_a_compressed_archive_is_an_error(tmp_path, spool):
    (tmp_path / "x").write_bytes(images.compressed(ARCHIVE, "gzip") + b"garbage")
    with pytest.raises(CompressionError):
        names_in(tmp_path / "x", spool)


class MemorySpool:
    def create(self):
        return os.memfd_create("spool", os.MFD_CLOEXEC)

    def relieve(self, _lacking):
        return 0


BASES = [ARCHIVE, images.tar(images.docker_files(PICTURE, style="old")), images.compressed(ARCHIVE, "zstd")]


@given(st.sampled_from(BASES), st.data())
def test_damage_raises_no_error_of_another_kind(base, data):
    raw = bytearray(base[: data.draw(st.sampled_from([len(base), len(base) // 2, 3000, 512]))])
    for _ in range(data.draw(st.integers(0, 5))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    said = ""
    try:
        with open_source("-", MemorySpool(), io.BytesIO(bytes(raw))) as source:
            for image in source.images():
                source.open_blob(image.descriptor.digest).read()
    except ArstoreError as error:
        said = str(error)
    assert said.isprintable()
