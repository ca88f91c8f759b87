"""A root file system as a plain tar: everything that a mount of a container or an image shows, as by `docker export`.

The overlay is mounted read-only and detached, so it ends with the process. A container's upper directory is one more
lower layer of it, even while the container runs. Changes made during the export may or may not be included, as with any
reader of files that change.

The order depends on the names alone: a directory, then the other files in it, then each of its subdirectories. Sparse
files stay sparse, hard links stay links, times have nanoseconds. Sockets cannot be stored, and are counted. Attributes
of this host (SELinux' label, EVM's signature) are dropped. Not here: mounts inside a container.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from arstore.digest import CHUNK
from arstore.disk.staging import Ingest
from arstore.errors import InUseError, MountError, MountForbiddenError
from arstore.linux.files.opening import DIRECTORY
from arstore.linux.files.xattr import read_xattrs
from arstore.linux.mounting.mount import MNT_DETACH, umount
from arstore.mounts.overlay import Overlay, detached, perform
from arstore.rootfs.commit import image_view
from arstore.rootfs.mount import lowers
from arstore.rootfs.sparse import data_runs
from arstore.rootfs.upper import opened_below, owned_as_below
from arstore.tar.entry import Entry, Kind, shown
from arstore.tar.header import BLOCK
from arstore.tar.whiteout import PREFIX
from arstore.tar.writer import TarWriter
from arstore.trees.format import LowerDirectory
from arstore.trees.inode_entry import KINDS, inode_entry
from arstore.trees.metadata import SkippedEntries
from arstore.trees.substitutes import meant

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from arstore.store.containers import Container
    from arstore.store.store import Store, StoredImage
    from arstore.trees.merged_view import MergedView

_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_OF_THIS_HOST = (b"security.selinux", b"security.evm")
_GONE = frozenset({errno.ENOENT, errno.ESTALE})


class Export:
    """One export and its counts: `members`, `sockets` left out, `marks` (names that are whiteouts in a layer)."""

    def __init__(self, store: Store, image: StoredImage, container: Container | None = None) -> None:
        """Export *container*, which is based on *image*, or the image itself."""
        self._store = store
        self._image = image
        self._container = container
        self.members = 0
        self.sockets = SkippedEntries()
        self.marks = SkippedEntries()

    def write(self, write: Callable[[bytes | memoryview], object]) -> None:
        """Pass the members to *write*, but no end mark.

        Raises InUseError when a file changed while it was read, NotFoundError when the container was removed,
        LimitError for a path that is too long, StoreDamagedError for a container whose files lack attributes, the
        errors of `Store.stack` (StoreError and SourceError), MountError, OSError.
        """
        buffer = _Buffer(write)
        archive = TarWriter(buffer.write)
        with self._view() as root, image_view(self._store, self._image) as below:
            tree = _Tree(root, below, self)
            for entry in tree:
                self.members += 1
                archive.add(entry, tree.chunks() if entry.kind is Kind.FILE and entry.size else ())
        buffer.flush()
        if self._container is not None:
            # A removal deletes the record before the files. If the record still exists, the files were complete.
            self._store.containers.get(self._container.id)

    @contextmanager
    def _view(self) -> Iterator[int]:
        """Open the root of the exported file system."""
        with ExitStack() as stack:
            stack.enter_context(self._store.held(self._image, "export"))
            if self._container is None:
                found = stack.enter_context(lowers(self._store, self._image))
            else:
                self._container.verify_whole()
                upper = self._container.upper
                fd = os.open(upper, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
                stack.callback(os.close, fd)
                below = stack.enter_context(lowers(self._store, self._image, writable=True))
                found = (LowerDirectory(fd, upper), *below)
            overlay = Overlay(found, nodev=True, nosuid=True)
            root = _opened(self._store, overlay, f"the root of {self._what}")
            stack.callback(os.close, root)
            yield root

    @property
    def _what(self) -> str:
        return self._image.label if self._container is None else f"container {self._container.id}"


def _opened(store: Store, overlay: Overlay, what: str) -> int:
    """Return a descriptor of the root of *overlay*, which is mounted nowhere."""
    try:
        mount_fd = detached(overlay, what)
    except MountForbiddenError:
        raise
    except MountError:
        # Layers without a path are detached mounts. Then the kernel is new enough, and the error is a real one.
        if not all(lower.path for lower in overlay.lowers):
            raise
        return _opened_by_place(store, overlay)
    try:
        return os.open(".", DIRECTORY, dir_fd=mount_fd)
    finally:
        os.close(mount_fd)


def _opened_by_place(store: Store, overlay: Overlay) -> int:
    """Like `_opened`, for kernels without detached overlay mounts (before 6.7): mount on a directory for a moment."""
    with Ingest(store.directories) as ingest:
        place = ingest.directory("view")
        perform(overlay, place)
        try:
            return os.open(place, DIRECTORY)
        finally:
            umount(place, MNT_DETACH)


class _Tree:
    """The members of the tree at the directory *root*, over the image *below*, and the content of the current one."""

    def __init__(self, root: int, below: MergedView, export: Export) -> None:
        self._root = root
        self._below = below
        self._export = export
        self._links: dict[tuple[int, int], bytes] = {}
        self._current = -1
        self._entry = Entry(b"", Kind.DIRECTORY)

    def __iter__(self) -> Iterator[Entry]:
        todo = [b""]
        while todo:
            path = todo.pop()
            try:
                with opened_below(self._root, path, DIRECTORY) as fd:
                    below = yield from self._directory(fd, path)
            except OSError as error:
                if not path or error.errno not in _GONE | {errno.ENOTDIR, errno.ELOOP}:
                    raise
                # It was removed before anything in it was read.
                continue
            todo.extend(reversed(below))

    def _directory(self, fd: int, path: bytes) -> Generator[Entry, None, list[bytes]]:
        """Yield the members of one directory, except subdirectories; return the paths of those."""
        yield self._look(fd, path, Kind.DIRECTORY)
        below = []
        for name in sorted(map(os.fsencode, os.listdir(fd))):
            child = path + b"/" + name if path else name
            if name.startswith(PREFIX):
                self._export.marks.note(child)
            try:
                self._current = os.open(name, _LOOK, dir_fd=fd)
            except OSError as error:
                if error.errno in _GONE:
                    continue
                raise
            try:
                mode = os.fstat(self._current).st_mode
                if stat.S_ISDIR(mode):
                    below.append(child)
                elif stat.S_ISSOCK(mode):
                    self._export.sockets.note(child)
                else:
                    yield self._member(child, KINDS[stat.S_IFMT(mode)])
            finally:
                os.close(self._current)
        return below

    def _member(self, path: bytes, kind: Kind) -> Entry:
        status = os.fstat(self._current)
        if status.st_nlink > 1:
            first = self._links.setdefault((status.st_dev, status.st_ino), path)
            if first != path:
                mode = stat.S_IMODE(status.st_mode)
                return Entry(path, Kind.HARDLINK, mode, status.st_uid, status.st_gid, status.st_mtime_ns, link=first)
        entry = self._entry = self._look(self._current, path, kind)
        if entry.kind is Kind.FILE and status.st_blocks * BLOCK < entry.size:
            with self._content() as fd:
                entry.sparse = data_runs(fd, entry.size)
        return entry

    def _look(self, fd: int, path: bytes, kind: Kind) -> Entry:
        status = os.fstat(fd)
        found: dict[bytes, bytes] = {}
        with _unsupported_is_none():
            found = read_xattrs(fd, b"")
        xattrs = {name: value for name, value in sorted(found.items()) if name not in _OF_THIS_HOST}
        return owned_as_below(meant(inode_entry(fd, path, kind, status, xattrs)), self._below)

    def chunks(self) -> Iterator[bytes]:
        """Yield the content of the current file: all, or the runs of a sparse file. Raises InUseError, OSError."""
        runs = [(0, self._entry.size)] if self._entry.sparse is None else self._entry.sparse
        with self._content() as fd:
            for offset, length in runs:
                end = offset + length
                while offset < end:
                    data = os.pread(fd, min(end - offset, CHUNK), offset)
                    if not data:
                        raise InUseError(shown(self._entry.path), "became shorter while it was read")
                    offset += len(data)
                    yield data

    @contextmanager
    def _content(self) -> Iterator[int]:
        fd = os.open(f"/proc/self/fd/{self._current}", _READ)
        try:
            yield fd
        finally:
            os.close(fd)


class _Buffer:
    """Collects small pieces into chunks."""

    def __init__(self, write: Callable[[bytes | memoryview], object]) -> None:
        self._write = write
        self._held = bytearray()

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes."""
        self._held += data
        if len(self._held) >= CHUNK:
            self.flush()

    def flush(self) -> None:
        """Write the bytes held back."""
        data, self._held = self._held, bytearray()
        self._write(memoryview(data))


@contextmanager
def _unsupported_is_none() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
