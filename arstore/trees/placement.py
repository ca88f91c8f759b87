"""Placement: where the members of one layer go, for every form of tree.

Entries are applied in their order, as by extraction: the last one at a path wins, and a directory that replaces
something else hides what lower layers have there. If a member's path runs through a symlink of its layer, the member
goes where a chroot would put it (`skeleton`). Hard links share the file that they link to; if the layer lacks the
target, the link is noted, because a parent may have it. Files that aufs kept as targets of hard links exist until the
end, and are not shown.

Whiteouts and opaque marks are applied at the end, because they are about lower layers only, wherever they are in the
archive. They apply to their literal path: symlinks of the layer are not followed, and a mark has no effect if the layer
has a file in its path, or hides the path. A directory with marks only is `marked`: it may be shown only where the lower
layers show a directory, which `adaptation` ensures.

A form subclasses `Placement` to create the files; it keeps everything but the directories and symlinks itself. Not
here: what lower layers have.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from arstore.errors import TarError, UnsafePathError
from arstore.tar.entry import Entry, Kind, shown
from arstore.tar.whiteout import PREFIX, PSEUDO_LINKS, Mark, classify, is_whiteout_device
from arstore.trees.attributes import Attributes
from arstore.trees.memory_quota import NAME, Allowance
from arstore.trees.skeleton import DirectoryNode, Missing, Shape, default_entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.trees.format import Content

    Answer = Callable[[Entry, DirectoryNode, bytes], bool]
    """Called with a hard link, and the directory and name where it is wanted."""

_NO_NAMES = frozenset({b"", b".", b".."})
_LONGEST_TARGET = 4095
_MOST_PLACES, _LONGEST_PLACE = 1 << 13, 512
_FILE, _DEVICE = Kind.FILE, Kind.CHARACTER
"""Aliases, because access to a member of an enumeration is slow, and these are needed for every entry."""
_LINKED_BY_AUFS = frozenset({Kind.FILE, Kind.SYMLINK, Kind.FIFO})
"""Kinds of files that hard links may have as a target in the directory of aufs."""
_MOST_MAJOR, _MOST_MINOR = (1 << 12) - 1, (1 << 20) - 1


class Placement(ABC):
    """One layer's entries while they are placed in a tree.

    `files` counts what the tree shows besides directories, `size` the bytes of its regular files, each file once.
    `absent_links` has the hard links, as in the archive, whose target only a lower layer can have. `passed` has the
    paths (sorted, after `decide_marks`) that members ran through while the layer had no entry for them, except implied
    directories that the layer has there in the end. `answer` is called for a hard link whose target this layer lacks;
    it returns whether it created the name from elsewhere. `attributes` has the counts of extended attributes that were
    left out.
    """

    def __init__(self, allowance: Allowance | None = None, attributes: Attributes | None = None) -> None:
        self._allowance = allowance or Allowance()
        self.attributes = attributes or Attributes()
        self.shape = Shape(self._allowance)
        self.files = 0
        self.size = 0
        self.absent_links: list[tuple[bytes, bytes]] = []
        self.answer: Answer | None = None
        self._passed: set[bytes] = set()
        self._whiteouts: list[bytes] = []
        self._opaque: list[bytes] = []
        self._parent = b""
        self._parent_node = self.shape.root
        self._places = {b"": self.shape.root}
        """Directories by the archive's paths; valid as long as nothing in them is replaced."""
        self._makers: dict[Kind, Callable[[DirectoryNode, bytes, Entry], None]] = {
            Kind.DIRECTORY: self._add_directory,
            Kind.SYMLINK: self._add_symlink,
            Kind.HARDLINK: self._add_link,
            Kind.CHARACTER: self._add_node,
            Kind.BLOCK: self._add_node,
            Kind.FIFO: self._add_node,
        }

    def add(self, entry: Entry, content: Content) -> None:
        """Place one entry.

        Raises UnsafePathError, TarError, LimitError, OSError.
        """
        path = entry.path
        # `find`, and an int for the byte: with bytes, `in` tries a conversion first, which takes ten times as long.
        if path.find(PREFIX) >= 0 and self._take_mark(entry):
            return
        parent, _, name = path.rpartition(b"/")
        if not name:
            self._add_root(entry)
            return
        if name in _NO_NAMES or 0 in path:
            raise UnsafePathError(shown(path), "not a valid file name")
        if entry.kind is _DEVICE and is_whiteout_device(entry):
            self._hide(path)
            return
        node = self._parent_node if parent == self._parent else self._place(parent)
        if entry.xattrs:
            self.attributes.sift(entry)
        if entry.kind is _FILE:
            self._make_file(node, name, entry, content)
        else:
            self._makers[entry.kind](node, name, entry)

    def answer_links(self, answer: Callable[[Entry], bool]) -> None:
        """See `TreeBuilder`."""
        self.answer = lambda entry, _node, _name: answer(entry)

    @property
    def passed(self) -> list[bytes]:
        """Paths that members ran through, see the class."""
        return sorted(self._passed | self.shape.crossed)

    @property
    def marks(self) -> list[tuple[bytes, bytes | None]]:
        """The layer's marks so far: the directory, and the name that is hidden in it; None for all names."""
        opaque: list[tuple[bytes, bytes | None]] = [(path, None) for path in self._opaque]
        return opaque + [(parent, name) for parent, _, name in (path.rpartition(b"/") for path in self._whiteouts)]

    def decide_marks(self) -> list[DirectoryNode]:
        """Create all directories except marked ones, and apply the marks; return the directories, parents first.

        A directory that is new, because it or a parent hides the lower layers, gets the default metadata unless it has
        its own. Raises UnsafePathError, LimitError, OSError.
        """
        self._replace(self.shape.root, PSEUDO_LINKS)
        # This directory is never shown, so a lower layer cannot have it elsewhere.
        self._passed.discard(PSEUDO_LINKS)
        for parent, name in self.marks:
            node = self._marked(parent)
            if node is not None and name is not None:
                node.hide(name)
            elif node is not None:
                node.opaque = True
        nodes = []
        todo = [(self.shape.root, False)]
        while todo:
            node, hidden = todo.pop()
            nodes.append(node)
            if not node.marked:
                self._make_directory(node)
            if node.fresh and node.entry is None:
                self._pass(node.path)
            if (node.fresh or hidden) and node.entry is None:
                node.entry = default_entry(node.path)
            node.opaque |= node.fresh
            hidden |= node.opaque
            self._end_marks(node, hidden)
            todo.extend((child, hidden) for child in node.directories())
        return nodes

    def has(self, node: DirectoryNode, name: bytes) -> bool:
        """Return whether the layer has anything at *name*. Raises OSError."""
        return name in node.children or self._exists(node, name)

    def covers(self, path: bytes) -> bool:
        """Return whether the layer replaces or covers what lower layers have at *path*.

        A directory over a directory does not: these are merged. Raises OSError.
        """
        node = self.shape.root
        for name in path.split(b"/"):
            child = node.children.get(name)
            if not isinstance(child, DirectoryNode):
                return self.has(node, name)
            if child.fresh or (not child.made and self._exists(node, name)):
                return True
            node = child
        return False

    def drop_marked(self, nodes: list[DirectoryNode]) -> None:
        """Remove those of *nodes* that have only marks."""
        for node in nodes:
            if node.marked and node.parent is not None:
                node.parent.children.pop(node.name, None)

    @staticmethod
    def _end_marks(node: DirectoryNode, hidden: bool) -> None:
        """Remove marks without effect; a directory of this layer that a whiteout names becomes opaque instead."""
        for child in list(node.directories()):
            if not hidden and child.name not in node.whiteouts:
                continue
            if child.marked:
                del node.children[child.name]
            elif not hidden:
                node.show(child.name)
                child.opaque = True
                child.entry = child.entry or default_entry(child.path)
        if hidden:
            node.whiteouts = frozenset()

    # --- what a form does -------------------------------------------------------------------------------------------

    @abstractmethod
    def _make_file(self, node: DirectoryNode, name: bytes, entry: Entry, content: Content) -> None:
        """Create a regular file, replacing whatever exists (`_replace` first), and count it."""

    @abstractmethod
    def _make_symlink(self, node: DirectoryNode, name: bytes, entry: Entry) -> None:
        """Create a symlink, replacing a file that may exist, and count it."""

    @abstractmethod
    def _make_node(self, node: DirectoryNode, name: bytes, entry: Entry) -> None:
        """Create a device or a FIFO where nothing exists, and count it."""

    @abstractmethod
    def _make_link(self, source: DirectoryNode, last: bytes, node: DirectoryNode, name: bytes) -> bool:
        """Make *name* a hard link to the file *last* of *source*, and count it; return False if that is missing."""

    @abstractmethod
    def _make_directory(self, node: DirectoryNode) -> None:
        """Create the directory, if it does not exist yet; set `fresh` if it replaces a file."""

    @abstractmethod
    def _exists(self, node: DirectoryNode, name: bytes) -> bool:
        """Return whether the layer has anything but a directory at *name*."""

    @abstractmethod
    def _drop_file(self, node: DirectoryNode, name: bytes) -> None:
        """Remove the file at *name*, if there is one."""

    @abstractmethod
    def _drop_directory(self, child: DirectoryNode) -> None:
        """Remove a directory that is no longer in the shape, and everything in it."""

    # --- marks ------------------------------------------------------------------------------------------------------

    def _take_mark(self, entry: Entry) -> bool:
        """Note the mark that *entry* makes, if any; return whether the entry is not to be placed as a file."""
        mark, hidden = classify(entry.path)
        if 0 in hidden:
            raise UnsafePathError(shown(entry.path), "not a valid file name")
        if mark is Mark.WHITEOUT:
            self._hide(hidden)
        elif mark is Mark.OPAQUE:
            self._allowance.hold(NAME + len(hidden))
            self._opaque.append(hidden)
        elif mark is Mark.PSEUDO_LINK:
            return entry.kind not in _LINKED_BY_AUFS
        return mark is not Mark.NONE

    def _hide(self, path: bytes) -> None:
        """Note a whiteout, which is applied at the end."""
        self._allowance.hold(NAME + len(path))
        self._whiteouts.append(path)

    def _marked(self, path: bytes) -> DirectoryNode | None:
        """Return the directory that a mark is about; None if this layer has a file there, which hides everything."""
        node = self.shape.root
        names = path.split(b"/") if path else ()
        self._allowance.step(len(names))
        for name in names:
            child = node.children.get(name)
            if not isinstance(child, DirectoryNode):
                if child is not None or self._exists(node, name):
                    return None
                child = self.shape.imply(node, [name])
                child.marked = True
            node = child
        return node

    # --- members ----------------------------------------------------------------------------------------------------

    def _add_root(self, entry: Entry) -> None:
        if entry.kind is not Kind.DIRECTORY:
            raise UnsafePathError("/", "the root of a layer can only be a directory")
        self.attributes.sift(entry)
        self.shape.root.entry = entry

    def _place(self, parent: bytes) -> DirectoryNode:
        """Return the directory that *parent* leads to, from a cache."""
        node = self._places.get(parent)
        if node is None:
            node = self.shape.directory(parent)
            self._remember(parent, node)
        self._parent, self._parent_node = parent, node
        return node

    def _remember(self, path: bytes, node: DirectoryNode) -> None:
        if len(path) > _LONGEST_PLACE:
            return
        if len(self._places) >= _MOST_PLACES:
            self._forget_places()
        self._places[path] = node

    def _forget_places(self) -> None:
        self._places = {b"": self.shape.root}
        self._parent, self._parent_node = b"", self.shape.root

    def _add_directory(self, node: DirectoryNode, name: bytes, entry: Entry) -> None:
        child = node.children.get(name)
        if not isinstance(child, DirectoryNode):
            if child is not None:
                self._forget_places()
            child = node.add(name)
            self._allowance.hold_directory(child.length)
            self._remember(entry.path, child)
        elif child.entry is None:
            self._pass(child.path)
        if entry.xattrs:
            self._allowance.hold_xattrs(entry)
        child.entry = entry

    def _add_symlink(self, node: DirectoryNode, name: bytes, entry: Entry) -> None:
        target = entry.link
        if not target or b"\0" in target or len(target) > _LONGEST_TARGET:
            raise TarError(shown(entry.path), "the target of the symbolic link is empty, too long or contains a NUL")
        self._allowance.hold(NAME + 3 * len(target))
        self._replace(node, name)
        self._make_symlink(node, name, entry)
        self._set_symlink(node, name, target)

    def _add_node(self, node: DirectoryNode, name: bytes, entry: Entry) -> None:
        is_device = entry.kind is not Kind.FIFO
        if is_device and not (0 <= entry.major <= _MOST_MAJOR and 0 <= entry.minor <= _MOST_MINOR):
            raise TarError(shown(entry.path), f"no device has the number {entry.major}:{entry.minor}")
        self._replace(node, name)
        self._drop_file(node, name)
        self._make_node(node, name, entry)

    def _set_symlink(self, node: DirectoryNode, name: bytes, target: bytes) -> None:
        """Put a symlink into the shape. Cached paths may have run through this place and back by `..`: forget them."""
        node.children[name] = target
        if self.shape.crossed:
            self._forget_places()

    # --- hard links -------------------------------------------------------------------------------------------------

    def _add_link(self, node: DirectoryNode, name: bytes, entry: Entry) -> None:
        parent, _, last = entry.link.rpartition(b"/")
        if last in _NO_NAMES or b"\0" in entry.link:
            raise TarError(shown(entry.path), "a hard link to a directory")
        source, missing = self.shape.walk(parent)
        if source is node and last == name and not missing:
            return
        target = None if missing else source.children.get(last)
        # Cases for a lower layer: an implied directory may be a symlink there, and a target that vanishes because the
        # link replaces its directory may still exist there.
        below = isinstance(target, DirectoryNode) and target.entry is None
        if isinstance(target, DirectoryNode) and not below:
            raise TarError(shown(entry.path), "a hard link to a directory")
        there = node.children.get(name)
        below = below or (isinstance(there, DirectoryNode) and source.is_below(there))
        self._replace(node, name)
        if isinstance(target, Missing):
            self._drop_file(node, name)
            self._allowance.hold(NAME)
            node.children[name] = target
        elif missing or below or not self._make_link(source, last, node, name):
            self._drop_file(node, name)
            self._link_to_lower(node, name, entry)
        elif isinstance(target, bytes):
            self._allowance.hold(NAME)
            self._set_symlink(node, name, target)

    def _link_to_lower(self, node: DirectoryNode, name: bytes, entry: Entry) -> None:
        if self.answer is not None and self.answer(entry, node, name):
            if isinstance(found := node.children.get(name), bytes):
                self._set_symlink(node, name, found)
            return
        self._allowance.hold_link(entry)
        self.absent_links.append((entry.path, entry.link))
        node.children[name] = Missing.LINK

    # --- what is in the way -----------------------------------------------------------------------------------------

    def _replace(self, node: DirectoryNode, name: bytes) -> None:
        """Remove *name* from the shape. A directory is also removed from the tree, other files stay there."""
        child = node.children.pop(name, None)
        if child is None:
            return
        self._forget_places()
        if isinstance(child, DirectoryNode):
            self._pass_all(child)
            self._drop_directory(child)

    def _pass_all(self, node: DirectoryNode) -> None:
        """Note every directory without an entry at or below *node*, which is removed."""
        todo = [node]
        while todo:
            one = todo.pop()
            if one.entry is None:
                self._pass(one.path)
            todo.extend(one.directories())

    def _pass(self, path: bytes) -> None:
        self._allowance.hold_passed(path)
        self._passed.add(path)
