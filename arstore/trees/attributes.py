"""Extended attributes of a member: the ones that a tree takes, by one rule for all forms, and a count of the others.

The rule (decision 21) takes what Linux can keep on an inode of this kind, whatever the file system of this host:

- `user.` on files and directories, `trusted.` and `security.` on everything, the two access control lists of `system.`
  on everything but symlinks, the default one on directories alone;
- names of 1 to 255 bytes with something after the dot, values of at most 64 KiB, names of at most 64 KiB together;
- where the kernel checks values (file capabilities and access control lists), only values that it accepts.

`trusted.overlay.*` and `user.overlay.*` would control overlayfs: they are never taken from an archive. Attributes that
the rule leaves out, or that the host refuses later (`metadata`), are counted; a strict `Attributes` raises instead.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from arstore.errors import TarError
from arstore.tar.entry import Kind, shown
from arstore.values import Slotted
from arstore.workers.wire import answer

if TYPE_CHECKING:
    from arstore.tar.entry import Entry

CAPABILITY = b"security.capability"
ACCESS, DEFAULT = b"system.posix_acl_access", b"system.posix_acl_default"

_NAMESPACES = (b"user.", b"trusted.", b"security.", b"system.")
_UNREAD = (b"SCHILY.acl.", b"LIBARCHIVE.xattr.")
"""Keywords of PAX records under which `tar.pax` keeps attributes that it cannot decode."""
_OVERLAY = (b"trusted.overlay.", b"user.overlay.")
_LONGEST_NAME, _LARGEST_VALUE, _LARGEST_LIST = 255, 1 << 16, 1 << 16
_CAPABILITY_SIZES = {20: 2, 24: 3}
_ACL_VERSION = b"\x02\x00\x00\x00"
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 1, 2, 4, 8, 16, 32
_NO_ID = (1 << 32) - 1
_EXAMPLES = 3


@answer
class Dropped(Slotted):
    """Extended attributes that were left out: their number, of how many members, and path, name, reason of a few."""

    __match_args__ = ("count", "members", "examples")
    __slots__ = __match_args__

    def __init__(
        self, count: int = 0, members: int = 0, examples: list[tuple[bytes, bytes, str]] | None = None
    ) -> None:
        self.count = count
        self.members = members
        self.examples = [] if examples is None else examples

    def add(self, other: Dropped) -> None:
        """Add the counts of *other*."""
        self.count += other.count
        self.members += other.members
        self.examples += other.examples[: _EXAMPLES - len(self.examples)]

    def __str__(self) -> str:
        what = "1 extended attribute was" if self.count == 1 else f"{self.count} extended attributes were"
        first = "".join(f": {described(*example)}" for example in self.examples[:1])
        return f"{what} left out{first}"


def described(path: bytes, name: bytes, why: str) -> str:
    """Return a text with the attribute, its member and the reason."""
    return f"{shown(name[:80])} of {shown(path) or '/'}, because {why}"


class Attributes:
    """Filters the attributes of one layer's members; *strict* raises for the first one that would be left out."""

    __slots__ = ("_last", "_strict", "dropped")

    def __init__(self, strict: bool = False) -> None:
        self.dropped = Dropped()
        self._strict = strict
        self._last: Entry | None = None

    def sift(self, entry: Entry) -> None:
        """Keep in *entry* only the attributes that the rule takes. Raises TarError if strict.

        A hard link has the attributes of its target: those in its own header are ignored, and not counted.
        """
        if entry.kind is Kind.HARDLINK:
            return
        kept: dict[bytes, bytes] = {}
        listed = 0
        for name, value in entry.xattrs.items():
            why = unfit(entry.kind, name, value)
            listed += 0 if why else len(name) + 1
            if not why and listed > _LARGEST_LIST:
                why = f"their names take more than {_LARGEST_LIST} bytes"
            if why:
                self.drop(entry, name, why)
            else:
                kept[name] = value
        entry.xattrs = kept

    def drop(self, entry: Entry, name: bytes, why: str) -> None:
        """Count one attribute of *entry* that is left out. Raises TarError if strict."""
        if self._strict:
            text = f"cannot keep its extended attribute {shown(name[:80])}, because {why}"
            raise TarError(shown(entry.path) or "/", text, "without --strict-xattrs it is left out")
        dropped = self.dropped
        dropped.count += 1
        if entry is not self._last:
            dropped.members += 1
            self._last = entry
        if len(dropped.examples) < _EXAMPLES:
            dropped.examples.append((entry.path, name[:_LONGEST_NAME], why))


def unfit(kind: Kind, name: bytes, value: bytes) -> str:
    """Return why a member of this *kind* cannot have the attribute *name* with this *value*; "" if it can."""
    if name.startswith(_UNREAD):
        return "the archive has it in a form that cannot be read"
    if not name.startswith(_NAMESPACES):
        return "Linux does not have this namespace"
    if name.startswith(_OVERLAY):
        return "it would control overlayfs"
    if len(name) > _LONGEST_NAME:
        return f"its name has more than {_LONGEST_NAME} bytes"
    if b"\0" in name or name in _NAMESPACES:
        return "the name is not valid"
    if len(value) > _LARGEST_VALUE:
        return f"its value has more than {_LARGEST_VALUE} bytes"
    if name.startswith(b"user.") and kind is not Kind.FILE and kind is not Kind.DIRECTORY:
        return "only files and directories can have it"
    if name.startswith(b"system."):
        return _unfit_acl(kind, name, value)
    if name == CAPABILITY and not _is_capability(value):
        return "its value is not valid"
    return ""


def _unfit_acl(kind: Kind, name: bytes, value: bytes) -> str:
    if name not in (ACCESS, DEFAULT):
        return "it belongs to another file system"
    if kind is Kind.SYMLINK:
        return "symlinks cannot have it"
    if name == DEFAULT and kind is not Kind.DIRECTORY:
        return "only directories can have it"
    return "" if _is_acl(value) else "its value is not valid"


def _is_capability(value: bytes) -> bool:
    """Return whether cap_convert_nscap (security/commoncap.c) accepts *value*."""
    revision = _CAPABILITY_SIZES.get(len(value))
    return value[3:4] == bytes([revision]) if revision is not None else False


def _is_acl(value: bytes) -> bool:
    """Return whether posix_acl_from_xattr and posix_acl_valid (fs/posix_acl.c) accept *value* as a non-empty list.

    The order is: the owner, users, the group, groups, a mask if there are users or groups, others.
    """
    if value[:4] != _ACL_VERSION or len(value) % 8 != 4:
        return False
    named = False
    allowed = {_USER_OBJ}
    for tag, permission, identity in struct.iter_unpack("<HHI", value[4:]):
        if tag not in allowed or permission > 7 or (identity == _NO_ID and tag in (_USER, _GROUP)):
            return False
        named = named or tag in (_USER, _GROUP)
        allowed = _after(tag, named)
    return not allowed


def _after(tag: int, named: bool) -> set[int]:
    """Return the tags of an access control list that may follow *tag*; *named*: users or groups came before."""
    if tag in (_USER_OBJ, _USER):
        return {_USER, _GROUP_OBJ}
    if tag in (_GROUP_OBJ, _GROUP):
        return {_GROUP, _MASK} if named else {_GROUP, _MASK, _OTHER}
    return {_OTHER} if tag == _MASK else set()
