"""Whiteouts: the names by which a layer says that something of the lower layers is gone.

OCI image-spec, layer.md, "Whiteouts" and "Opaque Whiteout"; the names come from aufs. Only the path is looked at,
because the specification gives a meaning to the name alone, whatever the member's type. Overlayfs' own whiteout, a
character device 0:0, is one too. Not in scope: what a tree does with a mark.

aufs kept the files that had several names in `.wh..wh.plnk` of a branch's root, and images that were made on it have
hard links to there. So these files can be linked to, and their names are not shown (`PSEUDO_LINK`).
"""

from __future__ import annotations

import enum

from arstore.errors import UnsafePathError
from arstore.tar.entry import Entry, Kind, shown

PREFIX = b".wh."
"""What the last component of a whiteout begins with; the rest is the name that it hides."""
OPAQUE_NAME = b".wh..wh..opq"
"""The last component of an opaque mark: its directory hides all that lower layers have in it."""
PSEUDO_LINKS = b".wh..wh.plnk"
"""The directory in the root of a layer that has the targets of hard links of aufs."""
_RESERVED_PREFIX = b".wh..wh."
_NAMELESS = (b"/.wh./", b"/.wh../", b"/.wh.../")


class Mark(enum.Enum):
    """What a member's path says."""

    NONE = "none"
    WHITEOUT = "whiteout"
    OPAQUE = "opaque"
    PSEUDO_LINK = "pseudo-link"
    IGNORED = "ignored"


def classify(path: bytes) -> tuple[Mark, bytes]:
    """The mark that *path* (normalised, as in `Entry.path`) makes, and the path that it is about.

    NONE: *path* itself. WHITEOUT: the path that is hidden. OPAQUE: the directory. PSEUDO_LINK: *path* itself, a name in
    `.wh..wh.plnk` that hard links may have as their target. IGNORED: *path* itself, which is aufs' own bookkeeping
    (`.wh..wh.plnk`, `.wh..wh.aufs`, `.wh..wh.orph`, anything else that begins so, and what lies below) and makes
    nothing. A `.wh.` name that is not the last component has no meaning and stays an ordinary
    directory, as all other implementations take it.

    Raises UnsafePathError for `.wh.`, `.wh..` and `.wh...`, which would hide the directory itself or its parent.
    """
    if PREFIX not in path:
        return Mark.NONE, path
    parent, _, name = path.rpartition(b"/")
    between = b"/%b/" % path
    if any(nameless in between for nameless in _NAMELESS):
        raise UnsafePathError(shown(path), "a whiteout that names no file")
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
    """As `classify`, for a member of any kind: a device 0:0 is a whiteout of its own path. Raises as `classify`."""
    if entry.kind is Kind.CHARACTER and is_whiteout_device(entry):
        return Mark.WHITEOUT, entry.path
    return classify(entry.path)


def is_whiteout_device(entry: Entry) -> bool:
    """Whether the character device *entry* is what overlayfs takes for a whiteout."""
    return not entry.major and not entry.minor


def _is_reserved(path: bytes) -> bool:
    """Whether a component begins so; none is looked at for itself, since a path may have a thousand."""
    return path.startswith(_RESERVED_PREFIX) or b"/" + _RESERVED_PREFIX in path
