"""The forms that trees can have: names, files and declared properties.

Outside this package, code asks these properties and never compares names: most of it has no more of a tree than its
record, which holds the name of its form. Nothing is imported here, so that commands can list the forms at no cost; what
builds, reads and mounts trees of a form is its `TreeFormat`.

A new form takes its line in `FORMS`, a package with its `TreeFormat`, and a line in `Store.forms`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

TAR = "layer.tar"
"""The layer's uncompressed tar in the directory of a tree whose form keeps it; the import pipeline writes it."""
INDEX = "layer.erofs"
"""The index over that tar."""
MERGED_INDEX = "merged.erofs"
"""A merged index, alone in its tree's directory."""
FILES = "fs"
"""The directory in a tree's directory that holds extracted files."""
LISTING = "listing"
"""The file beside it that says what they were when they were made (`directory.checksums`)."""

AUTO = "auto"
"""What stands for the form of the best rank that this host can mount, where a form is asked for."""


class Properties(NamedTuple):
    """What a form declares. The defaults are what may be assumed of a form that this arstore does not know."""

    name: str
    """As the graph records it."""

    files: tuple[str, ...] = ()
    """What only trees of this form have in their directories."""

    keeps_tar: bool = False
    """Whether a tree holds the layer's uncompressed tar, as `TAR`."""

    extracts: bool = False
    """Whether a tree is made of files on a plain file system. Such a tree takes no mount of its own to be used, more
    rights than an index to be built, and less memory."""

    survives_copy: bool = False
    """Whether a tree can be relied on after the store was copied. Copies of files may lack times, owners, extended
    attributes and hard links, and look well."""

    mergeable: bool = False
    """Whether a tree may be a member of a merged index."""

    rank: int = 0
    """Order of preference for new trees: the smallest that this host can mount comes first."""

    def holds(self, names: Collection[str]) -> bool:
        """Whether a directory with these *names* in it is that of a tree of this form, whole or not."""
        return any(file in names for file in self.files)


DIRECTORY = Properties("directory", (FILES, LISTING), extracts=True, rank=2)
EROFS = Properties("erofs", (INDEX, TAR), keeps_tar=True, survives_copy=True, mergeable=True, rank=1)
MERGED = Properties("merged", (MERGED_INDEX,), survives_copy=True)
"""The form of merged indexes. They are made of other trees and not of a layer, so it is not one of `FORMS`."""

FORMS = {form.name: form for form in (DIRECTORY, EROFS)}
"""The forms that the tree of a layer can have, by name."""

FALLBACK = DIRECTORY
"""The form that can represent every layer and is mounted everywhere: it takes what other forms cannot, and caps."""

_RECORDED = {**FORMS, MERGED.name: MERGED}
_RANKED = sorted(_RECORDED.values(), key=lambda form: form.rank)


def properties(name: str) -> Properties:
    """Return the properties of the form that a tree's record calls *name*, whether it is known or not."""
    return _RECORDED.get(name) or Properties(name)


def form_of(names: Collection[str]) -> Properties:
    """Return the form of the tree whose directory has these *names* in it; `FALLBACK` when none of them tells.

    Where files of several forms lie together, the better rank wins, and a merged index before all.
    """
    return next((form for form in _RANKED if form.holds(names)), FALLBACK)
