#!/usr/bin/env python3
"""Compare two directory trees entry by entry, or list one.

    python tests/support/treelist.py A B      differences, one a line; exit status 0 equal, 1 different, 2 unreadable
    python tests/support/treelist.py A        the listing itself

An entry is: path (bytes), type, mode, owner, size, link target, device, mtime in nanoseconds, extended attributes
(without trusted.overlay.*, which belong to the form a tree is kept in), the group of hard links it belongs to, and the
sha256 of its content. A directory's size and every link count are left out: they depend on the file system.
A group of hard links is named by its first path in byte order, so that inode numbers need not agree.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import os
import stat
import sys
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

HIDDEN_XATTRS = ("trusted.overlay.",)
_KINDS = {
    stat.S_IFREG: "f",
    stat.S_IFDIR: "d",
    stat.S_IFLNK: "l",
    stat.S_IFCHR: "c",
    stat.S_IFBLK: "b",
    stat.S_IFIFO: "p",
    stat.S_IFSOCK: "s",
}
_CHUNK = 1 << 20
_LONGEST = 2000
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Item:
    """The properties of one path of a tree."""

    kind: str
    """The letter of `find -type`: f d l c b p s."""
    mode: int
    uid: int
    gid: int
    size: int
    """Bytes of a regular file or of a link's target; 0 for all else."""
    mtime: int
    """Nanoseconds since the epoch."""
    target: bytes
    device: str
    """`major:minor` of a device node, else empty."""
    xattrs: tuple[tuple[str, bytes], ...]
    linked: bytes | None
    """The first path of the group of hard links, None for a path without further links."""
    sha256: str


FIELDS = tuple(field.name for field in fields(Item))
Listing = dict[bytes, Item]
"""Entries by path relative to the root, which is b"" itself."""


def listing(root: str | bytes | os.PathLike[str], content: bool = True) -> Listing:
    """List the tree at *root*, without ever following a link, whatever its depth.

    Raises OSError when anything in it cannot be read. Without *content*, no file is opened and `sha256` is empty.
    """
    found: Listing = {}
    first: dict[tuple[int, int], bytes] = {}
    groups: dict[bytes, tuple[int, int]] = {}
    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found[b""] = _item(os.fstat(top), _xattrs(_proc(top), follow=True), b"", "")
        todo = [b""]
        while todo:
            parent = todo.pop()
            with _opened(top, parent) as fd:
                for name in os.listdir(fd):
                    path = _join(parent, os.fsencode(name))
                    status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                    found[path] = _look(fd, os.fsencode(name), status, content)
                    if stat.S_ISDIR(status.st_mode):
                        todo.append(path)
                        continue
                    inode = (status.st_dev, status.st_ino)
                    groups[path] = inode
                    first[inode] = min(first.get(inode, path), path)
    finally:
        os.close(top)
    sizes: dict[tuple[int, int], int] = {}
    for inode in groups.values():
        sizes[inode] = sizes.get(inode, 0) + 1
    for path, inode in groups.items():
        if sizes[inode] > 1:
            found[path] = _grouped(found[path], first[inode])
    return dict(sorted(found.items()))


def _grouped(item: Item, linked: bytes) -> Item:
    values = {name: getattr(item, name) for name in FIELDS}
    return Item(**{**values, "linked": linked})


def _join(parent: bytes, name: bytes) -> bytes:
    return parent + b"/" + name if parent else name


@contextmanager
def _opened(top: int, path: bytes) -> Iterator[int]:
    """The directory *path* below *top*, opened in steps when it is longer than the system takes at once."""
    fd = os.dup(top)
    try:
        components = path.split(b"/") if path else []
        while components:
            step = [components.pop(0)]
            while components and sum(map(len, step)) + len(step) + len(components[0]) < _LONGEST:
                step.append(components.pop(0))
            below = os.open(b"/".join(step), _DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = below
        yield fd
    finally:
        os.close(fd)


def _proc(fd: int, name: bytes = b"") -> bytes:
    base = b"/proc/self/fd/%d" % fd
    return base + b"/" + name if name else base


def _look(parent: int, name: bytes, status: os.stat_result, content: bool) -> Item:
    target = os.readlink(name, dir_fd=parent) if stat.S_ISLNK(status.st_mode) else b""
    digest = _sha256(parent, name) if content and stat.S_ISREG(status.st_mode) else ""
    return _item(status, _xattrs(_proc(parent, name), follow=False), target, digest)


def _sha256(parent: int, name: bytes) -> str:
    hasher = hashlib.sha256()
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=parent)
    try:
        while data := os.read(fd, _CHUNK):
            hasher.update(data)
    finally:
        os.close(fd)
    return hasher.hexdigest()


def _item(status: os.stat_result, xattrs: tuple[tuple[str, bytes], ...], target: bytes, digest: str) -> Item:
    kind = _KINDS[stat.S_IFMT(status.st_mode)]
    is_device = kind in "cb"
    return Item(
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        size=status.st_size if kind in "fl" else 0,
        mtime=status.st_mtime_ns,
        target=target,
        device=f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}" if is_device else "",
        xattrs=xattrs,
        linked=None,
        sha256=digest,
    )


def _xattrs(path: bytes, follow: bool) -> tuple[tuple[str, bytes], ...]:
    """The extended attributes at *path*; only the name of an open descriptor in /proc is followed."""
    try:
        names = os.listxattr(path, follow_symlinks=follow)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return ()
        raise
    shown = [name for name in sorted(names) if not name.startswith(HIDDEN_XATTRS)]
    return tuple((name, os.getxattr(path, name, follow_symlinks=follow)) for name in shown)


# --- output ---------------------------------------------------------------------------------------------------------


def shown(path: bytes) -> str:
    """A path to print: `/` before it, and everything that does not print escaped."""
    text = path.decode("utf-8", "backslashreplace")
    return "/" + "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _value(name: str, value: object) -> str:
    if name == "mode" and isinstance(value, int):
        return f"{value:04o}"
    if name == "mtime" and isinstance(value, int):
        seconds, rest = divmod(abs(value), 1_000_000_000)
        return f"{'-' if value < 0 else ''}{seconds}.{rest:09d}"
    if name == "xattrs" and isinstance(value, tuple):
        return "{" + ", ".join(f"{key}={data!r}" for key, data in value) + "}"
    if name == "linked":
        return shown(value) if isinstance(value, bytes) else "alone"
    if isinstance(value, bytes):
        return repr(value)[1:]
    return str(value) or "none"


def differences(left: Listing, right: Listing, ignore: Collection[str] = (), root: bool = True) -> list[str]:
    """The differences, one line an entry, in the order of paths.

    *ignore* names fields that do not count; without *root*, the root's own entry does not count.
    """
    unknown = set(ignore) - set(FIELDS)
    if unknown:
        raise ValueError(f"no such field: {', '.join(sorted(unknown))}")
    report = []
    for path in sorted(left.keys() | right.keys()):
        if path == b"" and not root:
            continue
        a, b = left.get(path), right.get(path)
        if a is None or b is None:
            only = a or b
            report.append(f"{shown(path)}: only in {'B' if a is None else 'A'} ({only.kind if only else ''})")
        elif differing := [name for name in FIELDS if name not in ignore and getattr(a, name) != getattr(b, name)]:
            report.append(f"{shown(path)}: " + "; ".join(_difference(name, a, b) for name in differing))
    return report


def _difference(name: str, a: Item, b: Item) -> str:
    return f"{name} {_value(name, getattr(a, name))} != {_value(name, getattr(b, name))}"


def compare(
    a: str | os.PathLike[str], b: str | os.PathLike[str], ignore: Collection[str] = (), root: bool = True
) -> list[str]:
    """The differences between the trees at *a* and *b*; an empty list if there are none."""
    return differences(listing(a, "sha256" not in ignore), listing(b, "sha256" not in ignore), ignore, root)


def lines(tree: Listing) -> Iterator[str]:
    """The listing as text, one line an entry."""
    for path, item in tree.items():
        parts = [item.kind, _value("mode", item.mode), f"{item.uid}:{item.gid}", str(item.size)]
        parts += [_value("mtime", item.mtime), item.device or "-", item.sha256 or "-", shown(path)]
        if item.target:
            parts.append("-> " + _value("target", item.target))
        if item.linked is not None:
            parts.append("= " + shown(item.linked))
        if item.xattrs:
            parts.append(_value("xattrs", item.xattrs))
        yield " ".join(parts)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Compare two directory trees entry by entry, or list one.")
    parser.add_argument("a", metavar="A")
    parser.add_argument("b", metavar="B", nargs="?")
    parser.add_argument("--ignore", action="append", default=[], choices=FIELDS, help="a field that does not count")
    parser.add_argument("--no-root", action="store_true", help="leave the root's own entry out")
    parser.add_argument("--limit", type=int, default=100, help="differences to print (default 100)")
    options = parser.parse_args()
    try:
        left = listing(options.a, "sha256" not in options.ignore)
        if options.b is None:
            print(*lines(left), sep="\n")
            return 0
        right = listing(options.b, "sha256" not in options.ignore)
    except OSError as error:
        print(f"treelist: {error}", file=sys.stderr)
        return 2
    found = differences(left, right, options.ignore, not options.no_root)
    print(*found[: options.limit], sep="\n", end="\n" if found else "")
    summary = f"{len(found)} of {len(left.keys() | right.keys())} entries differ"
    print(f"treelist: {summary if found else f'{len(left)} entries, equal'}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
