"""Building a tree of the form `directory`."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from arstore.disk.free_space import Room
from arstore.linux.files.opening import DIRECTORY
from arstore.tar.limits import ACCEPTED, Limits
from arstore.trees.attributes import Attributes
from arstore.trees.directory.checksums import NAME, Recorder
from arstore.trees.directory.extraction import Extraction
from arstore.trees.format import Needs, TreeStat
from arstore.trees.inode_entry import OPAQUE
from arstore.trees.memory_quota import Allowance
from arstore.trees.metadata import Metadata

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.tar.entry import Entry
    from arstore.tar.steps import Steps
    from arstore.trees.format import Content
    from arstore.trees.skeleton import DirectoryNode
    from arstore.workers.shared_budget import Account


class DirectoryBuilder:
    """Extracts one layer into the new directory *name* of a tree's directory."""

    def __init__(
        self,
        tree_fd: int,
        name: str,
        limits: Limits = ACCEPTED,
        account: Account | None = None,
        steps: Steps | None = None,
        metadata: Metadata | None = None,
        opaque: bytes = OPAQUE,
    ) -> None:
        """*metadata* sets owners and attributes, *opaque* is the attribute of an opaque directory."""
        os.mkdir(name, 0o700, dir_fd=tree_fd)
        self._root = os.open(name, DIRECTORY, dir_fd=tree_fd)
        self._recorder = Recorder(tree_fd)
        allowance = Allowance(limits, account=account, steps=steps)
        room = None if limits.inodes == 0 else Room(self._root, limits, "the layer")
        metadata = metadata or Metadata(privileged=True, attributes=Attributes(limits.strict_xattrs))
        self._opaque = opaque
        self._extraction = Extraction(self._root, metadata, recorder=self._recorder, allowance=allowance, room=room)

    @property
    def latest(self) -> int:
        """See `TreeBuilder`."""
        return self._extraction.latest

    @latest.setter
    def latest(self, inode: int) -> None:
        self._extraction.latest = inode

    def answer_links(self, answer: Callable[[Entry], bool]) -> None:
        """See `TreeBuilder`."""
        self._extraction.answer_links(answer)

    def covers(self, path: bytes) -> bool:
        """See `TreeBuilder`. Raises OSError."""
        return self._extraction.covers(path)

    def add(self, entry: Entry, content: Content) -> None:
        """Take one entry. Raises UnsafePathError, TarError, LimitError, OSError."""
        self._extraction.add(entry, content)

    def finish(self) -> tuple[Needs, TreeStat]:
        """Write whiteouts and opaque marks, then all directories' metadata.

        Raises UnsafePathError, TarError, OSError.
        """
        extraction = self._extraction
        nodes = extraction.decide_marks()
        masked = [node.path for node in nodes if self._write_marks(node)]
        implied = [node.path for node in nodes if node.entry is None]
        extraction.apply_directories(nodes)
        marked = [node.path for node in nodes if node.marked]
        needs = Needs(
            sorted(implied),
            extraction.absent_links,
            sorted(masked),
            sorted(marked),
            extraction.passed,
            extraction.attributes.dropped,
        )
        sums = (f"{NAME}:{self._recorder.finish()}",)
        return needs, TreeStat(extraction.files + len(nodes) - 1, extraction.size, sums)

    def close(self) -> None:
        """Release all descriptors."""
        if self._root >= 0:
            self._extraction.close()
            self._recorder.close()
            os.close(self._root)
            self._root = -1

    def _write_marks(self, node: DirectoryNode) -> bool:
        """Write the marks of *node*; return whether it has whiteouts. A name that the layer has a file at gets none."""
        if not node.opaque and not node.whiteouts:
            return False
        extraction = self._extraction
        fd = extraction.descriptors.open(node)
        if node.opaque:
            os.setxattr(fd, self._opaque, b"y")
        written = False
        for name in sorted(node.whiteouts - node.children.keys()):
            with contextlib.suppress(FileExistsError):
                extraction.count_inode()
                os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=fd)
                self._recorder.note(node, name, b"w")
                written = True
        return written
