"""Extended attributes of inodes: what an index can hold of them, and how they are laid out.

An inode's attributes stand right after it. Those that several inodes have, name and value, stand once in an area of
their own, and the inodes hold their places there. Values pass through no file system on their way into an index, so
what a kernel would check when they are set is checked here; what it would change, is left to the directory form.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from arstore.errors import TarError
from arstore.store.erofs import format as layout
from arstore.store.metadata import attributes
from arstore.store.tree import UnrepresentableError
from arstore.tar.entry import Entry, Kind, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Attribute = tuple[int, bytes, bytes]
"""The number of a name's prefix, the rest of the name, the value."""

OPAQUE: Attribute = (4, b"overlay.opaque", b"y")
ORIGIN: Attribute = (4, b"overlay.origin", b"")
"""With it, overlayfs leaves the whiteouts of a directory out even where no other layer has the directory.

So it has done since Linux 4.15 (ovl_get_inode in fs/overlayfs/inode.c, "non-merge dir that may have whiteouts").
"""

_LONGEST_NAME, _LARGEST_VALUE, _LARGEST_LIST = 255, 1 << 16, 1 << 16
_LARGEST_BODY = ((1 << 16) - 2) * 4
_OVERLAY = b"trusted.overlay."
_CAPABILITY = b"security.capability"
_CAPABILITY_SIZES = {20: 2, 24: 3}
_ACCESS, _DEFAULT = 2, 3
_ACL_VERSION = b"\x02\x00\x00\x00"
_NO_ID = (1 << 32) - 1
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 1, 2, 4, 8, 16, 32


def taken(entry: Entry) -> tuple[Attribute, ...]:
    """What an inode gets of *entry*'s extended attributes, in an order that depends on them alone.

    Raises TarError for what no inode can have, UnrepresentableError for what this form cannot hold.
    """
    found: list[Attribute] = []
    names = 0
    for name, value in attributes(entry):
        names += len(name) + 1
        found.append(_attribute(entry, name, value))
    found.sort()
    if names > _LARGEST_LIST or _body(found) > _LARGEST_BODY:
        raise UnrepresentableError(entry.path, "more extended attributes than an inode holds")
    return tuple(found)


def kept(attributes_: Mapping[bytes, bytes], *more: Attribute) -> tuple[Attribute, ...]:
    """What `reader.Index.attributes` found of an inode, without overlayfs' own and with *more*, to be written again.

    Raises UnrepresentableError for more than an inode holds.
    """
    found = []
    for name, value in attributes_.items():
        if not name.startswith(_OVERLAY):
            number = next(n for n, prefix in layout.ATTRIBUTE_PREFIXES.items() if name.startswith(prefix))
            found.append((number, name[len(layout.ATTRIBUTE_PREFIXES[number]) :], value))
    found.sort()
    found += more
    if _body(found) > _LARGEST_BODY:
        raise UnrepresentableError(b"", "more extended attributes than an inode holds")
    return tuple(found)


def _attribute(entry: Entry, name: bytes, value: bytes) -> Attribute:
    number = next((n for n, prefix in layout.ATTRIBUTE_PREFIXES.items() if name.startswith(prefix)), 0)
    if not number:
        raise UnrepresentableError(entry.path, f"the extended attribute {shown(name[:80])}")
    rest = name[len(layout.ATTRIBUTE_PREFIXES[number]) :]
    is_acl = number in (_ACCESS, _DEFAULT)
    if len(name) > _LONGEST_NAME or len(value) > _LARGEST_VALUE or not (rest or is_acl):
        raise TarError(shown(entry.path), f"the extended attribute {shown(name[:80])} is not valid")
    if len(value) > layout.LARGEST_VALUE or (is_acl and (rest or not _is_settled(entry, number, value))):
        raise UnrepresentableError(entry.path, f"this value of the extended attribute {shown(name[:80])}")
    if name == _CAPABILITY:
        _check_capability(entry, value)
    return number, rest, value


def _check_capability(entry: Entry, value: bytes) -> None:
    """Refuse what cap_convert_nscap (security/commoncap.c) refuses."""
    revision = _CAPABILITY_SIZES.get(len(value))
    if revision is None or value[3] != revision:
        raise TarError(shown(entry.path), "the extended attribute security.capability is not valid")
    if revision == 3 and (value[0] > 1 or value[1] or value[2] or value[20:] == b"\xff\xff\xff\xff"):
        raise UnrepresentableError(entry.path, "this value of the extended attribute security.capability")


def _is_settled(entry: Entry, number: int, value: bytes) -> bool:
    """Whether an ACL is just what the kernel would make of it, given to this file and followed by its mode.

    Its form is that of posix_acl_valid (fs/posix_acl.c): the owner, users, the group, groups, a mask if there are users
    or groups, others.
    """
    if value[:4] != _ACL_VERSION or len(value) < 4 + 8 * 3 or len(value) % 8 != 4 or entry.kind is Kind.SYMLINK:
        return False
    entries = list(struct.iter_unpack("<HHI", value[4:]))
    tags = [tag for tag, _, _ in entries]
    permissions = {tag: permission for tag, permission, _ in entries}
    named = _USER in permissions or _GROUP in permissions
    if tags != sorted(tags) or any(tags.count(tag) != 1 for tag in (_USER_OBJ, _GROUP_OBJ, _OTHER)):
        return False
    if not set(tags) <= {_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER} or tags.count(_MASK) > 1:
        return False
    if any(permission > 7 or (identity == _NO_ID) is (tag in (_USER, _GROUP)) for tag, permission, identity in entries):
        return False
    if named and _MASK not in permissions:
        return False
    if number == _DEFAULT:
        return entry.kind is Kind.DIRECTORY
    group = permissions.get(_MASK, permissions[_GROUP_OBJ])
    shown_mode = permissions[_USER_OBJ] << 6 | group << 3 | permissions[_OTHER]
    return _MASK in permissions and shown_mode == entry.mode & 0o777


# --- layout ---------------------------------------------------------------------------------------------------------


class SharedAttributes:
    """The attributes that more than one inode has, each once."""

    def __init__(self, inodes: Iterable[tuple[Attribute, ...]]) -> None:
        """Find them among the attributes of all *inodes*."""
        seen: set[Attribute] = set()
        several: set[Attribute] = set()
        for attributes_ in inodes:
            several.update(seen.intersection(attributes_))
            seen.update(attributes_)
        self._places: dict[Attribute, int] = {}
        area = bytearray()
        for attribute in sorted(several):
            self._places[attribute] = len(area) // 4
            area += _packed(attribute)
        self.area = bytes(area)

    def body(self, attributes_: tuple[Attribute, ...]) -> bytes:
        """What stands after an inode that has these attributes; b"" for none."""
        if not attributes_:
            return b""
        shared = [self._places[one] for one in attributes_ if one in self._places][: layout.MOST_SHARED]
        known = set(shared)
        own = [_packed(one) for one in attributes_ if self._places.get(one, -1) not in known]
        head = layout.ATTRIBUTES.pack(0, len(shared))
        return b"".join([head, struct.pack(f"<{len(shared)}I", *shared), *own])


def words(size: int) -> int:
    """How an inode says that its attributes take *size* bytes (i_xattr_icount)."""
    return (size - layout.ATTRIBUTES.size) // 4 + 1 if size else 0


def _body(attributes_: Iterable[Attribute]) -> int:
    """The most that these attributes can take after an inode."""
    return layout.ATTRIBUTES.size + sum(len(_packed(one)) for one in attributes_)


def _packed(attribute: Attribute) -> bytes:
    number, name, value = attribute
    data = layout.ATTRIBUTE.pack(len(name), number, len(value)) + name + value
    return data + bytes(-len(data) % 4)
