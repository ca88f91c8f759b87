"""The forms that trees can have: names, files and declared properties.

Code outside this package asks for these properties and never compares names. Most of it has only a tree's record, which
contains the name of its form. Nothing is imported here, so that commands can list the forms at no cost. The
`TreeFormat` of a form builds, reads and mounts its trees.

A new form needs a line in `FORMS`, a package with its `TreeFormat`, and a line in `Store.forms`.
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
"""The file next to it that describes the files at the time when they were made (`directory.checksums`)."""
NEEDS = "needs.json"
"""The file with what a tree needs of the trees below it (`trees.needs`)."""
NO_NEEDS = f"{NEEDS}:-"
"""The sum of a tree without that file, in its record."""

AUTO = "auto"
"""In a choice of form: the form of the best rank that this host can mount."""


class Properties(NamedTuple):
    """Declared properties of a form. The defaults are safe assumptions about a form that this arstore does not know."""

    name: str
    """The name in the graph's records."""

    files: tuple[str, ...] = ()
    """Files that only trees of this form have in their directories."""

    keeps_tar: bool = False
    """Whether a tree contains the layer's uncompressed tar, as `TAR`."""

    extracts: bool = False
    """Whether a tree consists of files on an ordinary file system. Such a tree can be used without an own mount. To
    build it takes more privileges than an index, and less memory."""

    survives_copy: bool = False
    """Whether a tree can be relied on after the store was copied. Copies of files may lack times, owners, extended
    attributes and hard links without any visible sign."""

    mergeable: bool = False
    """Whether a tree may be a member of a merged index."""

    rank: int = 0
    """Order of preference for new trees: the smallest number that this host can mount wins."""

    def holds(self, names: Collection[str]) -> bool:
        """Return whether a directory with these *names* in it belongs to a tree of this form, complete or not."""
        return any(file in names for file in self.files)


DIRECTORY = Properties("directory", (FILES, LISTING), extracts=True, rank=4)
EROFS = Properties("erofs", (INDEX, TAR), keeps_tar=True, survives_copy=True, mergeable=True, rank=1)
MERGED = Properties("merged", (MERGED_INDEX,), survives_copy=True)
"""The form of merged indexes. They are made from other trees, not from a layer, so it is not one of `FORMS`."""
FORMS = {form.name: form for form in (DIRECTORY, EROFS)}
"""The forms that a user can ask for, by name."""

USER = Properties("user-directory", ("files-user",), extracts=True, rank=2)
"""Extracted files whose marks are `user.overlay.*` attributes, for mounts in a user namespace."""
SINGLE = Properties("single-directory", ("files-single",), extracts=True, rank=3)
"""The same with one owner for all files, for a user namespace with a single id."""

FALLBACK = DIRECTORY
"""The form that can represent every layer and is mountable everywhere by the host's root."""

TREES = {**FORMS, USER.name: USER, SINGLE.name: SINGLE}
"""The forms that a layer's tree can have, by name, also those that only a user namespace makes."""
_RECORDED = {**TREES, MERGED.name: MERGED}
_RANKED = sorted(_RECORDED.values(), key=lambda form: form.rank)


def properties(name: str) -> Properties:
    """Return the properties of the form that a tree's record calls *name*, even if it is unknown."""
    return _RECORDED.get(name) or Properties(name)


def form_of(names: Collection[str]) -> Properties:
    """Return the form of the tree whose directory has these *names* in it; `FALLBACK` if none of them is specific.

    If there are files of several forms, the best rank wins, and a merged index before all.
    """
    return next((form for form in _RANKED if form.holds(names)), FALLBACK)


def extracted() -> Properties:
    """Return the form of extracted files that this process can build and mount: `FALLBACK` for the host's root.

    It can represent every layer, and caps.
    """
    from arstore.linux.isolation import user_namespace

    if user_namespace.is_initial():
        return FALLBACK
    return SINGLE if user_namespace.current().is_single else USER


def is_usable(form: Properties) -> bool:
    """Return whether this process can mount trees of *form*, as far as user namespaces decide it.

    The kernel mounts no block format there, and only `user.` marks. With a single id, trees with several owners can be
    mounted: files of other owners then appear to belong to the overflow id.
    """
    from arstore.linux.isolation import user_namespace

    if user_namespace.is_initial():
        return form not in {USER, SINGLE}
    return form is USER or (form is SINGLE and user_namespace.current().is_single)
