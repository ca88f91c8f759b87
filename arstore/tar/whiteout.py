"""Whiteouts: names by which a layer hides files of the lower layers.

OCI image-spec, layer.md, "Whiteouts" and "Opaque Whiteout"; the names come from aufs. Only the path counts, whatever
the member's type, because the specification defines whiteouts by name. Overlayfs' own whiteout, a character device 0:0,
is also accepted. Not here: the effect of a mark on a tree.

aufs kept files with several names in `.wh..wh.plnk` of a branch's root, and images made on aufs have hard links to that
directory. So these files can be linked to, and their names are not shown (`PSEUDO_LINK`).
"""

from __future__ import annotations

from enum import Enum

from arstore.errors import UnsafePathError
from arstore.tar.entry import Entry, Kind, shown

PREFIX = b".wh."
"""Beginning of a whiteout's last component; the rest is the name that it hides."""
OPAQUE_NAME = b".wh..wh..opq"
"""The last component of an opaque mark: its directory hides everything that lower layers have in it."""
PSEUDO_LINKS = b".wh..wh.plnk"
"""The directory in the root of a layer that has the targets of hard links of aufs."""
_RESERVED_PREFIX = b".wh..wh."
_NAMELESS = (b"/.wh./", b"/.wh../", b"/.wh.../")


class Mark(Enum):
    """Meaning of a member's path."""

    NONE = "none"
    WHITEOUT = "whiteout"
    OPAQUE = "opaque"
    PSEUDO_LINK = "pseudo-link"
    IGNORED = "ignored"


def classify(path: bytes) -> tuple[Mark, bytes]:
    """Return the mark that *path* (normalised, as in `Entry.path`) makes, and the path that it is about.

    NONE: *path* itself. WHITEOUT: the path that is hidden. OPAQUE: the directory. PSEUDO_LINK: *path* itself, a name in
    `.wh..wh.plnk` that may be the target of hard links. IGNORED: *path* itself, which belongs to aufs' bookkeeping
    (`.wh..wh.plnk`, `.wh..wh.aufs`, `.wh..wh.orph`, all other names with this prefix, and everything below them) and
    creates nothing. A `.wh.` name that is not the last component has no meaning and is an ordinary directory, as in all
    other implementations.

    Raises UnsafePathError for `.wh.`, `.wh..` and `.wh...`, which would hide the directory itself or its parent.
    """
    if PREFIX not in path:
        return Mark.NONE, path
    parent, _, name = path.rpartition(b"/")
    between = b"/%b/" % path
    if any(nameless in between for nameless in _NAMELESS):
        raise UnsafePathError(shown(path), "a whiteout that does not name a file")
    if name == OPAQUE_NAME and not _is_reserved(parent):
        return Mark.OPAQUE, parent
    if _is_reserved(path):
        is_target = parent == PSEUDO_LINKS and not name.startswith(PREFIX)
        return Mark.PSEUDO_LINK if is_target else Mark.IGNORED, path
    if not name.startswith(PREFIX):
        return Mark.NONE, path
    hidden = name[len(PREFIX) :]
    return Mark.WHITEOUT, parent + b"/" + hidden if parent else hidden


def mark_of(entry: Entry) -> tuple[Mark, bytes]:
    """Like `classify`, for a member of any kind: a device 0:0 is a whiteout of its path. Raises UnsafePathError."""
    if entry.kind is Kind.CHARACTER and is_whiteout_device(entry):
        return Mark.WHITEOUT, entry.path
    return classify(entry.path)


def is_whiteout_device(entry: Entry) -> bool:
    """Return whether overlayfs takes the character device *entry* for a whiteout."""
    return not entry.major and not entry.minor


def _is_reserved(path: bytes) -> bool:
    """Return whether a component has the reserved prefix; no loop, because a path may have a thousand components."""
    return path.startswith(_RESERVED_PREFIX) or b"/" + _RESERVED_PREFIX in path
