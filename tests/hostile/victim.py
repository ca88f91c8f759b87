"""Files that an image must not reach: a directory next to the store, and the host's directories around it."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

State = dict[str, tuple[object, ...]]

WATCHED = ("/", "/etc", "/root", "/var", "/usr", "/usr/bin")
"""Directories of the host whose names must stay; hostile members aim at these first."""
NAMES = ("escaped", "victim-copy", ".wh.escaped")
"""Names of members that try to escape, wherever they end."""


class Victim:
    """A directory with a file, a directory, an executable and a symlink, as an administrator might have it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "private").mkdir(parents=True)
        (path / "precious").write_bytes(b"precious\n")
        (path / "private/key").write_bytes(b"key\n")
        (path / "program").write_bytes(b"#!/bin/sh\nexit 0\n")
        (path / "link").symlink_to("precious")
        os.chmod(path / "precious", 0o640)
        os.chmod(path / "private", 0o700)
        os.chmod(path / "private/key", 0o600)
        os.chmod(path / "program", 0o755)
        with contextlib.suppress(OSError):
            os.setxattr(path / "precious", "user.note", b"mine")
        for each in (*sorted(path.rglob("*"), reverse=True), path):
            os.utime(each, ns=(1, 1_234_567_890_123_456_789), follow_symlinks=False)
        self.before = state(path)

    def changes(self) -> list[str]:
        """List the changes since the beginning."""
        now = state(self.path)
        return [f"the victim's {name or 'directory'} changed" for name in sorted(_differing(self.before, now))]


def _differing(one: State, other: State) -> set[str]:
    return {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}


def state(directory: Path) -> State:
    """Everything visible of *directory* and below it, by relative path, except access times."""
    found = {"": _state(directory)}
    for each in directory.rglob("*"):
        found[str(each.relative_to(directory))] = _state(each)
    return found


def _state(path: Path) -> tuple[object, ...]:
    told = path.lstat()
    content: object = None
    if stat.S_ISREG(told.st_mode):
        content = path.read_bytes()
    elif stat.S_ISLNK(told.st_mode):
        content = os.readlink(path)
    attributes: dict[str, bytes] = {}
    with contextlib.suppress(OSError):
        names = os.listxattr(path, follow_symlinks=False)
        attributes = {name: os.getxattr(path, name, follow_symlinks=False) for name in names}
    owner = (told.st_mode, told.st_uid, told.st_gid, told.st_nlink)
    return (*owner, told.st_mtime_ns, told.st_ctime_ns, content, sorted(attributes.items()))


def surroundings(place: Path, spared: set[str]) -> dict[str, set[str]]:
    """The names in the watched directories of the host, and in *place* without those *spared*."""
    found = {directory: set(os.listdir(directory)) for directory in WATCHED if os.access(directory, os.R_OK | os.X_OK)}
    return {**found, str(place): set(os.listdir(place)) - spared}


def intruders(before: dict[str, set[str]], now: dict[str, set[str]], place: Path) -> list[str]:
    """New names: any in *place*; elsewhere, where others may work too, only names of hostile members."""
    new = [Path(where, name) for where, names in now.items() for name in names - before.get(where, set())]
    return [f"{path} was made outside" for path in new if path.parent == place or path.name in NAMES]
