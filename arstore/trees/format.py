"""Trees: the mountable form of a layer, behind one Protocol.

A tree is built from the entries of one layer's tar, apart from the layer's parents. What an overlay over several trees
shows must still be what extraction of the layers one onto the other would give, so a build reports what it could not
know alone: its *needs*. `adaptation` and `cap` in this package answer them when a chain is put together.
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
    from arstore.trees.forms import Properties
    from arstore.workers.shared_budget import Account

DEFAULT_DIRECTORY_MODE = 0o755
"""Mode of a directory that no layer has an entry for; owner 0:0, mtime 0. umoci makes the root so as well."""


class UnrepresentableError(Exception):
    """A layer holds something that this form has no way to say; another form has to take the layer.

    No error for people: whoever builds trees catches it. `path` is the member's, `why` what is the matter.
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
    """What a layer takes from its parents without saying so.

    `implied` holds the directories (b"" is the root) that the layer has members in but no entry for, sorted, parents
    first: in the merged view they keep the lower layers' mode, owner, times and xattrs, and when a lower layer has a
    symlink there, the members belong where it points to. What an opaque mark or a whiteout of the same layer makes new
    is not implied. `absent_links` holds the hard links `(path, target)`, as the archive has them, whose target the
    layer does not contain: such a tree is incomplete. `masked` holds the directories that have whiteouts in them,
    sorted: overlayfs shows these as broken names where no other layer has the directory. `marked` holds those of the
    implied directories that only marks speak of: where the lower layers show no directory the tree must not have them.
    `passed` holds further paths that members run through, sorted: a lower layer's symlink there would lead them
    elsewhere. `dropped` counts the extended attributes of the layer that the tree does not have.
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
    """What a finished build counted: members that the tree shows, and their content bytes before compression.

    `sums` are as in the tree's record (`graph.records.TreeRecord`).
    """

    entries: int
    size: int
    sums: tuple[str, ...] = ()


class Node(NamedTuple):
    """One inode of a tree, as a merged view needs it to be looked up: metadata, no content.

    `entry.path` is where it was looked up; a whiteout has `whiteout` set and nothing else of meaning; an opaque
    directory hides all that is below it.
    """

    entry: Entry
    whiteout: bool = False
    opaque: bool = False


class FileRange(NamedTuple):
    """A file's content where it lies: *size* bytes from byte *start* of what *fd* has open for reading.

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
        """At most *length* bytes from the file's byte *offset*, fewer only at its end. Raises OSError."""
        wanted = min(length, self.size - offset)
        return os.pread(self.fd, wanted, self.start + offset) if wanted > 0 else b""


class Content(Protocol):
    """The tar stream that a builder takes a file's bytes from, right after it was given the entry."""

    def chunks(self) -> Iterable[bytes | memoryview]:
        """The current entry's stored bytes, in order; a chunk is valid until the next one is taken."""


class EntryReader(Content, Protocol):
    """An archive being read: its entries in order, and the content of the current one (`TarReader` is one)."""

    def __iter__(self) -> Iterator[Entry]: ...


class TreeBuilder(Protocol):
    """Makes one tree in a directory of its own, from entries in the archive's order."""

    def answer_links(self, answer: Callable[[Entry], bool]) -> None:
        """Ask *answer* for the hard links that the layer has no target of: whether it has added the path otherwise."""

    def covers(self, path: bytes) -> bool:
        """Whether the entries so far have anything at *path*, or above it, in the place of what lower layers have."""

    def add(self, entry: Entry, content: Content) -> None:
        """Take one entry, whiteouts included, under its name in the archive.

        Raises UnsafePathError, TarError, LimitError for what the entry asks, OSError for what the host refuses.
        """

    def finish(self) -> tuple[Needs, TreeStat]:
        """Apply what has to be last (whiteouts, directory times) and end the build."""

    def close(self) -> None:
        """Release descriptors; also right after a failure, when the directory will be thrown away."""


class Made(NamedTuple):
    """What is known of a tree from elsewhere: the layer's diff ID and bytes of tar ("" and 0 for a cap), and sums."""

    diff_id: str
    tar_size: int
    sums: dict[str, str]


class TreeFormat(Protocol):
    """One way to keep trees. A tree lives in a directory of its own, which is given as a directory descriptor."""

    name: str
    """That of its properties."""

    properties: Properties
    """What it declares (`forms`), for code that decides by it.

    Where it keeps the tar, what an entry was read from is in that file before a builder gets the entry, and all of the
    tar before `finish`, but for what may follow the end of the archive.
    """

    modules: tuple[str, ...]
    """Names of modules that `builder`, `lookup` and `open_file` import late; `preload` imports them for workers."""

    def builder(
        self,
        tree_fd: int,
        limits: Limits = ACCEPTED,
        account: Account | None = None,
        steps: Steps | None = None,
    ) -> TreeBuilder:
        """A builder that fills the empty directory *tree_fd*, within what *limits* say of a layer.

        What it holds in memory it draws from *account*, where several layers are read at a time, and what it does it
        takes from *steps*.
        """

    def lower(self, tree_path: str) -> AbstractContextManager[LowerDirectory]:
        """The tree as a layer of an overlay, for as long as the context lasts."""

    def lookup(self, tree_fd: int, path: bytes) -> Node | None:
        """The node at *path*, never following a symlink in any component; None where the tree has nothing there.

        An intermediate component that is a whiteout, a symlink or a file is returned itself, with its own path, in
        place of what lies behind it.
        """

    def open_file(self, tree_fd: int, path: bytes) -> FileRange:
        """The content of the regular file at *path*; no symlink is followed.

        A range rather than a descriptor of the file alone, because not every form has a file for each file.
        Raises FileNotFoundError where there is none, OSError.
        """

    def glance(self, parent_fd: int, name: str, sums: Mapping[str, str]) -> tuple[str, int]:
        """What names and sizes tell of the tree directory *name*: what is wrong with it, or "".

        And the bytes of the layer's tar that it keeps, 0 for none. *sums* are those of the tree's record.
        Raises OSError for what cannot be looked at.
        """

    def fault(self, tree_fd: int, made: Made, report: Callable[[int], None]) -> str:
        """What is wrong with the tree that was *made* so; "" when nothing is found.

        All that this form keeps something to compare with is read; *report* is told of the bytes. Raises OSError for
        what cannot be read.
        """

    def remove(self, parent_fd: int, name: str) -> None:
        """Delete the tree directory *name* and all that is in it."""


class Origin(NamedTuple):
    """What a mount of a tree was made of: the name of the tree's directory, and the index in it, as a file.

    *file_system* is what statfs(2) has to say of such a mount.
    """

    tree: str
    device: int
    inode: int
    file_system: int


class LowerDirectory(NamedTuple):
    """A directory that overlayfs takes as one lower layer: an open O_PATH descriptor (a directory or a mount).

    *origin* is that of a detached mount, which others may clone.
    """

    fd: int
    path: str
    origin: Origin | None = None
