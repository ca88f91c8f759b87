"""The files that an index has its content in: what the tags in the device table of a merged index stand for.

A tag is the hexadecimal part of a member's tree key, 64 digits, which is all that a tag has room for. Where it stands
first it means the member's tar; where it stands again its index, for content that no tar has.
"""

from __future__ import annotations

import re

from arstore.trees.erofs.superblock import damaged, devices
from arstore.trees.forms import INDEX, TAR

TAG = re.compile(rb"[0-9a-f]{64}")


def device_files(fd: int, what: str) -> list[str]:
    """The files of the devices of the merged index *fd*, in their order, relative to its tree's directory.

    Raises StoreDamagedError, naming *what*; OSError.
    """
    seen: set[bytes] = set()
    files = []
    for device in devices(fd, what):
        if TAG.fullmatch(device.tag) is None:
            damaged(what, "has a device that is no tree's")
        files.append(f"../{device.tag.decode()}/{INDEX if device.tag in seen else TAR}")
        seen.add(device.tag)
    return files
