"""Guess the kind of a file from its first bytes, for the message that says why it is not an image.

Not in scope: compressions, which `arstore.tar.compression` knows.
"""

from __future__ import annotations

from arstore.tar.header import checksum_matches

HEAD = 4096
"""Bytes that are enough to recognise a kind."""

_AT_START = (
    (b"\x7fELF", "an ELF program"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"hsqs", "a squashfs image"),
    (b"!<arch>\n", "an ar archive, as .deb and .a files are"),
    (b"\xed\xab\xee\xdb", "an RPM package"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"QFI\xfb", "a qcow2 disk image"),
    (b"KDMV", "a VMDK disk image"),
    (b"070701", "a cpio archive"),
    (b"070702", "a cpio archive"),
    (b"070707", "a cpio archive"),
    (b"MZ", "a Windows program"),
    (b"\xcf\xfa\xed\xfe", "a macOS program"),
    (b"%PDF-", "a PDF document"),
    (b"-----BEGIN PGP", "an encrypted or signed message"),
    (b"age-encryption.org/", "a file encrypted with age"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"#!", "a script"),
    (b"#!/usr/bin/env run-singularity", "a Singularity image"),
)
_AT_OFFSET = (
    (1024, b"\xe2\xe1\xf5\xe0", "an EROFS image"),
    (1080, b"\x53\xef", "an ext2, ext3 or ext4 image"),
    (510, b"\x55\xaa", "a disk image with a boot sector"),
)


def is_tar(head: bytes) -> bool:
    """Whether *head* begins with a tar header of any kind, by its checksum, or with an end mark (an empty archive)."""
    block = head[:512]
    if len(block) < 512:
        return False
    return not any(block) or checksum_matches(block, block[148:156])


def looks_like(head: bytes) -> str:
    """The kind of file that begins with *head*, its first `HEAD` bytes, if it is not a tar: `a zip archive`; or ""."""
    for magic, kind in reversed(_AT_START):
        if head.startswith(magic):
            return kind
    for offset, magic, kind in _AT_OFFSET:
        if head[offset : offset + len(magic)] == magic:
            return kind
    return _described_text(head)


def _described_text(head: bytes) -> str:
    start = head[:512].lstrip()
    if start[:1] in {b"{", b"["}:
        return "a JSON document"
    if start[:14].lower() in {b"<!doctype html"} or start[:5].lower() == b"<html":
        return "an HTML page, perhaps a server's error message"
    if head and not head.translate(None, bytes(range(32, 127)) + b"\t\n\r\f"):
        return "a text file"
    return ""
