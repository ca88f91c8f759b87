"""The content files of a merged index: the meaning of the tags in its device table.

A tag is the hexadecimal part of a member's tree key, 64 digits, which is all the space that a tag has. Its first
occurrence means the member's tar, the second one its index, for content that is not in a tar.
"""

from __future__ import annotations

import re

from arstore.trees.erofs.superblock import damaged, devices
from arstore.trees.forms import INDEX, TAR

TAG = re.compile(rb"[0-9a-f]{64}")


def device_files(fd: int, what: str) -> list[str]:
    """Return the files of the devices of the merged index *fd*, in order, relative to its tree's directory.

    Raises StoreDamagedError, naming *what*; OSError.
    """
    seen: set[bytes] = set()
    files = []
    for device in devices(fd, what):
        if TAG.fullmatch(device.tag) is None:
            damaged(what, "has a device that does not belong to a tree")
        files.append(f"../{device.tag.decode()}/{INDEX if device.tag in seen else TAR}")
        seen.add(device.tag)
    return files
