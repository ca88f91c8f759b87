"""Trees of extracted files in a user namespace: what replaces owners and devices that cannot be made there.

An owner who is not mapped ends the build: the tree would show another owner. With a single id, all files belong to it,
and attributes say which owner they stand for (`substitutes`).
"""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from typing import TYPE_CHECKING

from arstore.tar.entry import Kind, shown
from arstore.trees.attributes import Attributes
from arstore.trees.directory.checksums import NAME, Listed, played
from arstore.trees.metadata import Metadata, check_owner
from arstore.trees.substitutes import DEVICE, OWNER, of_device, of_owner

if TYPE_CHECKING:
    from arstore.linux.isolation.user_namespace import IdMaps
    from arstore.tar.entry import Entry

_MOST_LISTINGS = 8
_listings: OrderedDict[tuple[int, int, int], dict[bytes, Listed]] = OrderedDict()


class MappedAttributes(Attributes):
    """Attributes of a layer's members without those that these trees use themselves."""

    __slots__ = ()

    def sift(self, entry: Entry) -> None:
        """See Attributes. Raises TarError if strict."""
        if entry.xattrs and entry.kind is not Kind.HARDLINK:
            for name in (DEVICE, OWNER):
                if name in entry.xattrs:
                    self.drop(entry, name, "in a user namespace it would stand for a device or an owner")
                    entry.xattrs = {key: value for key, value in entry.xattrs.items() if key != name}
        super().sift(entry)


class MappedMetadata(Metadata):
    """Sets metadata in a user namespace that has the ids *maps*; with *one_owner*, all files belong to its root."""

    substitutes_devices = True

    def __init__(self, maps: IdMaps, *, one_owner: bool, strict: bool = False) -> None:
        super().__init__(privileged=True, attributes=MappedAttributes(strict))
        self._maps = maps
        self._one_owner = one_owner

    def has_marked(self, entry: Entry) -> bool:
        """See Metadata."""
        return self._one_owner and bool(entry.uid or entry.gid)

    def substitute(self, entry: Entry) -> Entry:
        """See Metadata."""
        return entry.replaced(kind=Kind.FILE, size=0, xattrs={**entry.xattrs, DEVICE: of_device(entry)})

    def _give(self, fd: int, entry: Entry) -> None:
        if not self._one_owner:
            super()._give(fd, entry)
            return
        check_owner(entry)
        if entry.uid or entry.gid:
            os.setxattr(fd, OWNER, of_owner(entry.uid, entry.gid))
            self.owners.note(entry.path)

    def _may_own(self, entry: Entry) -> bool:
        """See Metadata. Raises PermissionError if the owner is not mapped, unless all files have one owner."""
        if self._one_owner:
            return False
        if super()._may_own(entry):
            return True
        assert self._maps is not None, "ids of a user namespace"
        kind, number, ranges = "user", entry.uid, self._maps.uids
        if self._maps.has_uid(entry.uid):
            kind, number, ranges = "group", entry.gid, self._maps.gids
        most = max(one.inside + one.length for one in ranges) - 1
        why = f"{shown(entry.path) or '/'} belongs to {kind} {number}, and the ids here end at {most}"
        raise PermissionError(errno.EPERM, f"{why} (more subordinate ids in /etc/sub{kind[0]}id would help)")


def listed_owner(tree_fd: int, entry: Entry) -> tuple[int, int]:
    """Return the owner of *entry* of the tree directory *tree_fd*, from its listing; the file's own if it is not there.

    Raises OSError.
    """
    found = _listing(tree_fd).get(entry.path)
    return (entry.uid, entry.gid) if found is None else (found.uid, found.gid)


def _listing(tree_fd: int) -> dict[bytes, Listed]:
    status = os.fstat(tree_fd)
    key = status.st_dev, status.st_ino, status.st_ctime_ns
    if key not in _listings:
        try:
            with open(os.open(NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=tree_fd), "rb") as file:
                _listings[key] = played(file.read())
        except (FileNotFoundError, ValueError):
            _listings[key] = {}
        if len(_listings) > _MOST_LISTINGS:
            _listings.popitem(last=False)
    return _listings[key]
