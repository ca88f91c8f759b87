"""Every kind of change that a container can make to the example image's root file system, done through a mount."""

from __future__ import annotations

import os
import shutil
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
"""security.capability with cap_net_raw=ep, version 2."""


def scramble(root: Path) -> None:
    """Change the tree at *root*, which shows `images.example`; only in ways that an image can represent."""
    _create(root)
    _replace(root)
    _attributes(root)
    os.utime(root, ns=(1, 1_234_567_890_123_456_789))


def _create(root: Path) -> None:
    (root / "new").write_bytes(b"new")
    os.mkdir(root / "made", 0o1777)
    (root / "made/deep").mkdir()
    (root / "made/deep/file").write_bytes(bytes(range(256)) * 5000)
    (root / ("long" * 60)).write_bytes(b"a long name")
    with open(os.fsencode(root) + b"/bad\xff\xfename", "wb") as file:
        file.write(b"no UTF-8")
    os.link(root / "new", root / "made/linked")
    os.symlink("no/where", root / "dangling")
    os.link(root / "dangling", root / "made/linked-symlink", follow_symlinks=False)
    os.mknod(root / "character", 0o20640, os.makedev(1, 3))
    os.mknod(root / "block", 0o60600, os.makedev(7, 300))
    os.mkfifo(root / "pipe", 0o622)
    with open(root / "sparse", "wb") as file:
        file.truncate(3 << 20)
        file.seek(1 << 20)
        file.write(b"data between holes")


def _replace(root: Path) -> None:
    os.unlink(root / "data/old")
    shutil.rmtree(root / "opt")
    (root / "opt").write_bytes(b"a file in place of a directory")
    os.unlink(root / "etc/issue")
    (root / "etc/issue").mkdir()
    (root / "etc/issue/inside").write_bytes(b"a directory in place of a file")
    shutil.rmtree(root / "gone")
    (root / "gone").mkdir(0o700)
    (root / "gone/fresh").write_bytes(b"an opaque directory")
    os.rename(root / "data/big", root / "data/renamed")
    os.link(root / "bin/tool", root / "made/tool")


def _attributes(root: Path) -> None:
    os.chown(root / "bin/tool", 12, 34)
    os.chmod(root / "bin/tool", 0o6755)
    os.setxattr(root / "bin/tool", "security.capability", CAPABILITY)
    os.setxattr(root / "new", "user.note", b"bytes \0\xff")
    os.setxattr(root / "made", "trusted.mark", b"1")
    os.chown(root / "dangling", 5, 6, follow_symlinks=False)
    os.utime(root / "new", ns=(1, -1_234_567_890_123_456_789))
    os.utime(root / "made/deep", ns=(1, 1_000_000_000_000_000_001))


def socket_at(path: Path) -> None:
    """Leave a socket at *path*, which may be long."""
    here = os.open(".", os.O_RDONLY)
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)
    finally:
        os.fchdir(here)
        os.close(here)
