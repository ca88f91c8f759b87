"""Trees: the mountable form of a layer, behind one Protocol.

A tree is built from the entries of one layer's tar, without the layer's parents. Still, an overlay over several trees
must show what extraction of the layers one onto the other would give. So a build reports what it could not know alone:
its *needs*. `adaptation` in this package answers them, also with a cap, when a chain is put together.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from arstore.tar.limits import ACCEPTED
from arstore.trees.attributes import Dropped
from arstore.values import NamedTuple, Slotted
from arstore.workers.wire import answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from arstore.tar.entry import Entry
    from arstore.tar.limits import Limits
    from arstore.tar.steps import Steps
    from arstore.trees.contents.row import Row
    from arstore.trees.folders import Folder
    from arstore.trees.forms import Properties
    from arstore.workers.shared_budget import Account

DEFAULT_DIRECTORY_MODE = 0o755
"""Mode of a directory that no layer has an entry for; owner 0:0, mtime 0. umoci also gives the root this mode."""


class UnrepresentableError(Exception):
    """A layer contains something that this form cannot represent; another form has to be used.

    Not meant for people: the code that builds trees catches it. `path` is the member's path, `why` the reason.
    """

    def __init__(self, path: bytes, why: str) -> None:
        super().__init__(path, why)
        self.path = path
        self.why = why

    def __str__(self) -> str:
        from arstore.tar.entry import shown

        return f"{shown(self.path)}: {self.why}"


@answer
class Needs(Slotted):
    """Information about a layer that matters when it is stacked on its parents.

    `implied`: the directories (b"" is the root) that the layer has members in but no entry for, sorted, parents first.
    In the merged view they keep the lower layers' mode, owner, times and xattrs; when a lower layer has a symlink
    there, the members belong where it points to. A directory that is new because of an opaque mark or a whiteout of the
    same layer is not implied. `absent_links`: the hard links `(path, target)`, as in the archive, whose target the
    layer does not contain: such a tree is incomplete. `masked`: the directories that have whiteouts in them, sorted;
    overlayfs shows these as broken names where no other layer has the directory. `marked`: those implied directories
    that have only marks; where the lower layers show no directory, the tree must not have them. `passed`: further paths
    that members run through, sorted; a lower layer's symlink there would lead them elsewhere. `dropped`: counts of the
    layer's extended attributes that the tree does not have.
    """

    __match_args__ = ("implied", "absent_links", "masked", "marked", "passed", "dropped")
    __slots__ = __match_args__

    def __init__(
        self,
        implied: list[bytes] | None = None,
        absent_links: list[tuple[bytes, bytes]] | None = None,
        masked: list[bytes] | None = None,
        marked: list[bytes] | None = None,
        passed: list[bytes] | None = None,
        dropped: Dropped | None = None,
    ) -> None:
        self.implied = [] if implied is None else implied
        self.absent_links = [] if absent_links is None else absent_links
        self.masked = [] if masked is None else masked
        self.marked = [] if marked is None else marked
        self.passed = [] if passed is None else passed
        self.dropped = Dropped() if dropped is None else dropped


@answer
class TreeStat(NamedTuple):
    """Counts of a finished build: members that the tree shows, and bytes of their content before compression.

    `sums` are as in the tree's record (`graph.records.TreeRecord`).
    """

    entries: int
    size: int
    sums: tuple[str, ...] = ()


class Node(NamedTuple):
    """One inode of a tree, as needed for a lookup in a merged view: metadata, no content.

    `entry.path` is the path that was looked up. If `whiteout` is set, nothing else has a meaning. An `opaque` directory
    hides everything in it that lower layers have.
    """

    entry: Entry
    whiteout: bool = False
    opaque: bool = False


class FileRange(NamedTuple):
    """The content of a file: *size* bytes from byte *start* of the open file *fd*.

    A context manager that closes the descriptor.
    """

    fd: int
    start: int
    size: int

    def __enter__(self) -> FileRange:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def read(self, length: int, offset: int = 0) -> bytes:
        """Return at most *length* bytes from the file's byte *offset*, fewer only at its end. Raises OSError."""
        wanted = min(length, self.size - offset)
        return os.pread(self.fd, wanted, self.start + offset) if wanted > 0 else b""


class Content(Protocol):
    """The tar stream from which a builder takes a file's bytes, right after it was given the entry."""

    def chunks(self) -> Iterable[bytes | memoryview]:
        """Yield the current entry's stored bytes, in order; a chunk is valid until the next one is taken."""


class EntryReader(Content, Protocol):
    """An archive being read: its entries in order, and the content of the current one (`TarReader` is one)."""

    def __iter__(self) -> Iterator[Entry]: ...


class TreeBuilder(Protocol):
    """Builds one tree in its own directory, from entries in the archive's order."""

    latest: int
    """The inode number of the last regular file that was made, as in the tree's rows; a caller may set it to -1."""

    def answer_links(self, answer: Callable[[Entry], bool]) -> None:
        """Call *answer* for hard links without a target in the layer; it returns whether it added the path itself."""

    def covers(self, path: bytes) -> bool:
        """Return whether the entries so far replace or cover what lower layers have at *path*."""

    def add(self, entry: Entry, content: Content) -> None:
        """Take one entry, whiteouts included, under its name in the archive.

        Raises UnsafePathError, TarError, LimitError for bad entries, OSError for what the host refuses.
        """

    def finish(self) -> tuple[Needs, TreeStat]:
        """Apply what has to come last (whiteouts, directory times), and end the build."""

    def close(self) -> None:
        """Release descriptors; also right after an error, when the directory will be deleted."""


class Made(NamedTuple):
    """Data about a tree from elsewhere: the layer's diff ID and bytes of tar ("" and 0 for a cap), and sums.

    A tar that `is_blob` has a second name, by which its content is verified.
    """

    diff_id: str
    tar_size: int
    sums: dict[str, str]
    is_blob: bool = False


class TreeFormat(Protocol):
    """One way to keep trees. Each tree has its own directory, which is passed as a directory descriptor."""

    name: str
    """The name in its properties."""

    properties: Properties
    """Declared properties (`forms`), for code whose behaviour depends on them.

    If the form keeps the tar, the bytes of an entry are in that file before a builder gets the entry; before `finish`,
    all of the tar is there, except perhaps bytes after the end of the archive.
    """

    modules: tuple[str, ...]
    """Modules that `builder`, `lookup` and `open_file` import late; `preload` imports them for workers."""

    def builder(
        self,
        tree_fd: int,
        limits: Limits = ACCEPTED,
        account: Account | None = None,
        steps: Steps | None = None,
    ) -> TreeBuilder:
        """Return a builder that fills the empty directory *tree_fd*, within the *limits* for a layer.

        Its memory is drawn from *account* if several layers are read at a time, and its work is charged to *steps*.
        """

    def lower(self, tree_path: str) -> AbstractContextManager[LowerDirectory]:
        """Open the tree as a layer of an overlay, during the context."""

    def lookup(self, tree_fd: int, path: bytes) -> Node | None:
        """Return the node at *path*, following no symlink in any component; None if the tree has nothing there.

        If an intermediate component is a whiteout, a symlink or a file, that node is returned, with its own path.
        """

    def open_file(self, tree_fd: int, path: bytes) -> FileRange:
        """Return the content of the regular file at *path*; no symlink is followed.

        The result is a range, not a descriptor of the file alone, because not every form has a file for each file.
        Raises FileNotFoundError if it does not exist, OSError.
        """

    def rows(self, tree_fd: int) -> Iterator[Row]:
        """Yield a row for each name in the tree, the root first. Raises StoreDamagedError, OSError."""

    def folders(self, tree_fd: int) -> Folder:
        """Return the root directory of the tree, with the bytes of the files in each directory. Raises OSError.

        Every file counts once, in the directory where it is first met.
        """

    def glance(self, parent_fd: int, name: str, sums: Mapping[str, str]) -> tuple[str, int]:
        """Check the names and sizes in the tree directory *name*; return what is wrong with it, or "".

        The second value is the size of the layer's tar that it keeps, in bytes, 0 for none. *sums* are those of the
        tree's record. Raises OSError for what cannot be looked at.
        """

    def fault(self, tree_fd: int, made: Made, report: Callable[[int], None]) -> str:
        """Return what is wrong with the tree that *made* describes; "" if nothing is found.

        Everything is read that this form can compare with something; *report* is called with the bytes read. Raises
        OSError for what cannot be read.
        """

    def remove(self, parent_fd: int, name: str) -> None:
        """Delete the tree directory *name* and everything in it."""


class Origin(NamedTuple):
    """Identity of the index that a mount shows: the name of the tree's directory, and the index in it, as a file.

    *file_system* is the id that statfs(2) returns for the mount.
    """

    tree: str
    device: int
    inode: int
    file_system: int


class LowerDirectory(NamedTuple):
    """A directory that overlayfs takes as one lower layer: an open O_PATH descriptor (a directory or a mount).

    *origin* belongs to a detached mount that other processes may clone.
    """

    fd: int
    path: str
    origin: Origin | None = None
