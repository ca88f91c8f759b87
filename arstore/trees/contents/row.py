"""Rows: one for each name in a tree, the root included.

Flags of a row say which digests of a file are known. Each is the first 16 bytes of a SHA-256 or of a BLAKE3.
"""

from __future__ import annotations

from arstore.values import NamedTuple

FILE, DIRECTORY, IMPLIED, OPAQUE, SYMLINK, WHITEOUT, OTHER = range(7)
"""Kinds of rows. A directory is implied if its layer has no entry for it, and opaque if it hides what lower layers
have in it. A whiteout hides its name in lower layers."""

KIND = 0x07
"""The bits of a row's byte that hold the kind."""
AGAIN = 0x08
"""Another name of a file that has an earlier row."""
SHA256, BLAKE3 = 0x40, 0x20
"""The digests that the file has, in this order."""

KINDS = ("file", "directory", "directory", "directory", "symlink", "whiteout", "other")
"""Names of the kinds, for people and JSON."""

DIRECTORIES = frozenset({DIRECTORY, IMPLIED, OPAQUE})
COVERING = frozenset({FILE, OPAQUE, SYMLINK, WHITEOUT, OTHER})
"""Kinds that hide what lower layers have below their path."""


class Row(NamedTuple):
    """One name: the path below the root, without a leading slash; kind; size in bytes, 0 unless it is a file.

    `inode` identifies the file within the tree, so that its names and its digests can be matched. `links` is the number
    of its names.
    """

    path: bytes
    kind: int
    size: int
    inode: int
    links: int = 1
