"""Attributes for what a file cannot have in a user namespace: devices, and owners without subordinate ids.

A process in a user namespace cannot make device nodes (mknod(2)), and a namespace with a single id has one owner for
all files. There, a tree has an empty file in place of a device, and files of root in place of all others; these
attributes say what they stand for, so that `commit`, `diff` and `export` give it back exactly:

    user.arstore.device        `c 1:3` or `b 8:0`: the kind and the number of the device
    user.rootlesscontainers    owner and group, as umoci and others record them (the rootlesscontainers protocol)

Overlayfs copies both with a file that a container changes. Trees in a user namespace take neither from an archive.
Symlinks and FIFOs cannot have attributes of users: the owner of one is in the listing of its tree alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.linux.isolation.user_namespace import is_initial
from arstore.tar.entry import Kind

if TYPE_CHECKING:
    from arstore.tar.entry import Entry

DEVICE = b"user.arstore.device"
OWNER = b"user.rootlesscontainers"

_KINDS = {Kind.CHARACTER: b"c", Kind.BLOCK: b"b"}
_LETTERS = {letter: kind for kind, letter in _KINDS.items()}
_LARGEST = (1 << 32) - 1
_UNCHANGED = _LARGEST
"""An id in the attribute that says nothing about the owner."""
_UID_FIELD, _GID_FIELD = 0x08, 0x10
"""Tags of the message `Resource { uint32 uid = 1; uint32 gid = 2; }`, both as varints."""


def of_device(entry: Entry) -> bytes:
    """Return the value of DEVICE for the device *entry*."""
    return b"%b %d:%d" % (_KINDS[entry.kind], entry.major, entry.minor)


def of_owner(uid: int, gid: int) -> bytes:
    """Return the value of OWNER for these ids, which are not both 0; as umoci does, 0 is written as unchanged."""
    fields = ((_UID_FIELD, uid or _UNCHANGED), (_GID_FIELD, gid or _UNCHANGED))
    return b"".join(bytes([tag]) + _varint(number) for tag, number in fields)


def meant(entry: Entry) -> Entry:
    """Return `resolved` in a user namespace, and *entry* itself on the host, where the attributes have no meaning."""
    return entry if is_initial() else resolved(entry)


def resolved(entry: Entry) -> Entry:
    """Return *entry*, as read from a file, as what the file stands for, without these attributes."""
    device, owner = entry.xattrs.get(DEVICE), entry.xattrs.get(OWNER)
    if device is None and owner is None:
        return entry
    changes: dict[str, object] = {
        "xattrs": {name: value for name, value in entry.xattrs.items() if name not in (DEVICE, OWNER)}
    }
    if owner is not None and (ids := _ids(owner)) is not None:
        uid, gid = ids
        changes |= {"uid": entry.uid if uid == _UNCHANGED else uid, "gid": entry.gid if gid == _UNCHANGED else gid}
    if device is not None and entry.kind is Kind.FILE and not entry.size and (found := _device(device)) is not None:
        changes["kind"], changes["major"], changes["minor"] = found
    return entry.replaced(**changes)


def _device(value: bytes) -> tuple[Kind, int, int] | None:
    letter, _, number = value.partition(b" ")
    major, _, minor = number.partition(b":")
    if letter not in _LETTERS or not (_is_number(major) and _is_number(minor)):
        return None
    return _LETTERS[letter], int(major), int(minor)


def _is_number(text: bytes) -> bool:
    return text.isdigit() and len(text) <= 10 and int(text) <= _LARGEST


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _ids(value: bytes) -> tuple[int, int] | None:
    """Decode the value of OWNER; None if it is malformed, as when a program in a container wrote it."""
    ids = {_UID_FIELD: 0, _GID_FIELD: 0}
    place = 0
    while place < len(value):
        tag, number, shift = value[place], 0, 0
        place += 1
        while True:
            if tag not in ids or place >= len(value) or shift > 28:
                return None
            byte = value[place]
            place += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if number > _LARGEST:
            return None
        ids[tag] = number
    return ids[_UID_FIELD], ids[_GID_FIELD]
