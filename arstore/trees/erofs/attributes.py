"""Extended attributes of inodes: which of them an index can hold, and their layout.

An inode's attributes follow it. Attributes with the same name and value in several inodes are stored once, in a
separate area, and the inodes have their positions there. Attributes that an inode cannot have were left out before
(`trees.attributes`). Values that the kernel would change when they are set are left to the directory form.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from arstore.tar.entry import shown
from arstore.trees.attributes import CAPABILITY
from arstore.trees.erofs import format as layout
from arstore.trees.format import UnrepresentableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from arstore.tar.entry import Entry

Attribute = tuple[int, bytes, bytes]
"""The number of a name's prefix, the rest of the name, the value."""

OPAQUE: Attribute = (4, b"overlay.opaque", b"y")
ORIGIN: Attribute = (4, b"overlay.origin", b"")
"""With it, overlayfs omits the whiteouts of a directory even if no other layer has the directory.

True since Linux 4.15 (ovl_get_inode in fs/overlayfs/inode.c, "non-merge dir that may have whiteouts").
"""

_LARGEST_BODY = ((1 << 16) - 2) * 4
_OVERLAY = b"trusted.overlay."
_NAMESPACED_CAPABILITY = 24
_ACCESS, _DEFAULT = 2, 3
_NO_ID = (1 << 32) - 1
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 1, 2, 4, 8, 16, 32


def taken(entry: Entry) -> tuple[Attribute, ...]:
    """Return the attributes for *entry*'s inode, in an order that depends on them alone.

    Raises UnrepresentableError for attributes that this form cannot hold.
    """
    found = [_attribute(entry, name, value) for name, value in entry.xattrs.items()]
    found.sort()
    if _body(found) > _LARGEST_BODY:
        raise UnrepresentableError(entry.path, "more extended attributes than an inode holds")
    return tuple(found)


def kept(attributes_: Mapping[bytes, bytes], *more: Attribute) -> tuple[Attribute, ...]:
    """Return the attributes read by `reader.IndexReader.attributes`, without overlayfs' own and with *more*.

    Raises UnrepresentableError for more than an inode can hold.
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
    if (
        len(value) > layout.LARGEST_VALUE
        or (is_acl and not _is_settled(entry, number, value))
        or (name == CAPABILITY and not _is_settled_capability(value))
    ):
        raise UnrepresentableError(entry.path, f"this value of the extended attribute {shown(name[:80])}")
    return number, rest, value


def _is_settled_capability(value: bytes) -> bool:
    """Return whether the kernel keeps these file capabilities as they are (cap_convert_nscap, security/commoncap.c)."""
    if len(value) != _NAMESPACED_CAPABILITY:
        return True
    return value[0] <= 1 and not value[1] and not value[2] and value[20:] != b"\xff\xff\xff\xff"


def _is_settled(entry: Entry, number: int, value: bytes) -> bool:
    """Return whether the kernel would keep a valid ACL exactly, on this file and followed by its mode."""
    entries = list(struct.iter_unpack("<HHI", value[4:]))
    permissions = {tag: permission for tag, permission, _ in entries}
    if any(identity != _NO_ID for tag, _, identity in entries if tag not in (_USER, _GROUP)):
        return False
    if number == _DEFAULT:
        return True
    group = permissions.get(_MASK, permissions[_GROUP_OBJ])
    shown_mode = permissions[_USER_OBJ] << 6 | group << 3 | permissions[_OTHER]
    return _MASK in permissions and shown_mode == entry.mode & 0o777


# --- layout ---------------------------------------------------------------------------------------------------------


class SharedAttributes:
    """The attributes that more than one inode has, each stored once."""

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
        """Return the bytes after an inode that has these attributes; b"" for none."""
        if not attributes_:
            return b""
        shared = [self._places[one] for one in attributes_ if one in self._places][: layout.MOST_SHARED]
        known = set(shared)
        own = [_packed(one) for one in attributes_ if self._places.get(one, -1) not in known]
        head = layout.ATTRIBUTES.pack(0, len(shared))
        return b"".join([head, struct.pack(f"<{len(shared)}I", *shared), *own])


def words(size: int) -> int:
    """Encode that an inode's attributes take *size* bytes (i_xattr_icount)."""
    return (size - layout.ATTRIBUTES.size) // 4 + 1 if size else 0


def _body(attributes_: Iterable[Attribute]) -> int:
    """Return the most bytes that these attributes can take after an inode."""
    return layout.ATTRIBUTES.size + sum(len(_packed(one)) for one in attributes_)


def _packed(attribute: Attribute) -> bytes:
    number, name, value = attribute
    data = layout.ATTRIBUTE.pack(len(name), number, len(value)) + name + value
    return data + bytes(-len(data) % 4)
