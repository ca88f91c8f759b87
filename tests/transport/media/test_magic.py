import io
import tarfile

import pytest

from arstore.transport.media.magic import is_tar, looks_like


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tar_headers_are_known(form):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        archive.addfile(tarfile.TarInfo("n" * 120 if form != tarfile.USTAR_FORMAT else "name"))
    assert is_tar(stream.getvalue())


def test_oldest_headers_are_known_by_their_checksum():
    header = bytearray(tarfile.TarInfo("name").tobuf(tarfile.USTAR_FORMAT)[:512])
    header[257:265] = bytes(8)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    assert is_tar(bytes(header))
    header[0] ^= 1
    assert not is_tar(bytes(header))


def test_signed_checksums_are_known():
    header = bytearray(tarfile.TarInfo("name").tobuf(tarfile.USTAR_FORMAT)[:512])
    header[10] = 0xE9
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % (sum(header) - 256)
    assert is_tar(bytes(header))


@pytest.mark.parametrize("head", [b"", b"x" * 511, b"x" * 512, b"\x7fELF" + bytes(508), bytes(511), b"9" * 512])
def test_no_tar(head):
    assert not is_tar(head)


def test_an_empty_archive_is_a_tar():
    assert is_tar(bytes(1024))


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x7fELF\2\1\1", "an ELF program"),
        (b"PK\x03\x04....", "a zip archive"),
        (b"hsqs....", "a squashfs image"),
        (b"!<arch>\ndebian-binary", "an ar archive, as .deb and .a files are"),
        (b"#!/bin/sh\n", "a script"),
        (b"#!/usr/bin/env run-singularity\n", "a Singularity image"),
        (b'\n {"a": 1}', "a JSON document"),
        (b"<!DOCTYPE html><html>", "an HTML page, perhaps a server's error message"),
        (b"plain words\n", "a text file"),
        (bytes(1024) + b"\xe2\xe1\xf5\xe0", "an EROFS image"),
        (bytes(1080) + b"\x53\xef", "an ext2, ext3 or ext4 image"),
        (bytes(510) + b"\x55\xaa", "a disk image with a boot sector"),
        (b"\x01\x02\x03\xff", ""),
        (b"", ""),
    ],
)
def test_looks_like(head, kind):
    assert looks_like(head) == kind
