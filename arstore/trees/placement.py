"""Placement: where the members of one layer go, whatever form its tree has.

Entries are applied in their order, as extraction would do it: the last one at a path wins, and a directory that takes
the place of something else hides what lower layers have there. A member whose path runs through a symlink of its layer
goes where a chroot would put it (`skeleton`). Hard links share what they link to; one whose target the layer lacks is
noted, for a parent may have it. What aufs kept as targets of hard links is there until the end, and shown nowhere.

Whiteouts and opaque marks wait until the end, because they speak of lower layers alone, whatever their place in the
archive. They hold at their literal path: no symlink of the layer is followed, and where the layer has something else
than directories on the way, or hides them, there is nothing to say. A directory that only marks speak of is `marked`:
it may be shown only where the lower layers show one, which `adaptation` sees to.

A form makes things real: it subclasses `Placement` and keeps everything but the directories and symlinks itself. Not in
scope: what lower layers have.
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
    """From a hard link, and the directory and name at which it is wanted."""

_NO_NAMES = frozenset({b"", b".", b".."})
_LONGEST_TARGET = 4095
_MOST_PLACES, _LONGEST_PLACE = 1 << 13, 512
_FILE, _DEVICE = Kind.FILE, Kind.CHARACTER
"""The member of an enumeration takes a while to find, and this one is asked for with every entry."""
_LINKED_BY_AUFS = frozenset({Kind.FILE, Kind.SYMLINK, Kind.FIFO})
"""What is taken as a target of hard links from where aufs kept them."""
_MOST_MAJOR, _MOST_MINOR = (1 << 12) - 1, (1 << 20) - 1


class Placement(ABC):
    """One layer's entries on their way into a tree.

    `files` counts what the tree shows besides directories, `size` the bytes of its regular files, each file once;
    `absent_links` holds the hard links, as the archive has them, that only a lower layer can answer. `passed` holds the
    paths (sorted, after `decide_marks`) that members ran through while the layer had no entry for them, though it is
    not an implied directory that it has there in the end. `answer` is asked for a hard link whose target this layer
    lacks: whether it has made the name from elsewhere. `attributes` has counted the extended attributes that were left
    out.
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
        """The directories that the archive's paths lead to, as long as nothing that stands in these is replaced."""
        self._makers: dict[Kind, Callable[[DirectoryNode, bytes, Entry], None]] = {
            Kind.DIRECTORY: self._add_directory,
            Kind.SYMLINK: self._add_symlink,
            Kind.HARDLINK: self._add_link,
            Kind.CHARACTER: self._add_node,
            Kind.BLOCK: self._add_node,
            Kind.FIFO: self._add_node,
        }

    def add(self, entry: Entry, content: Content) -> None:
        """Take one entry.

        Raises UnsafePathError, TarError, LimitError, OSError.
        """
        path = entry.path
        # `find`, and a number as the byte: with bytes, `in` tries a conversion first, which takes ten times as long.
        if path.find(PREFIX) >= 0 and self._take_mark(entry):
            return
        parent, _, name = path.rpartition(b"/")
        if not name:
            self._add_root(entry)
            return
        if name in _NO_NAMES or 0 in path:
            raise UnsafePathError(shown(path), "not a name that a file can have")
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
        """See the class."""
        return sorted(self._passed | self.shape.crossed)

    @property
    def marks(self) -> list[tuple[bytes, bytes | None]]:
        """The layer's marks as far as they came: the directory, and the name that is hidden in it; None for all."""
        opaque: list[tuple[bytes, bytes | None]] = [(path, None) for path in self._opaque]
        return opaque + [(parent, name) for parent, _, name in (path.rpartition(b"/") for path in self._whiteouts)]

    def decide_marks(self) -> list[DirectoryNode]:
        """Make all directories but the marked ones, and decide about the marks; return the directories, parents first.

        A directory that is new because it, or one above it, hides the lower layers gets the default metadata unless it
        has its own. Raises UnsafePathError, LimitError, OSError.
        """
        self._replace(self.shape.root, PSEUDO_LINKS)
        # No layer shows it, so nobody can have it elsewhere.
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
        """Whether the layer has anything at *name*. Raises OSError."""
        return name in node.children or self._exists(node, name)

    def covers(self, path: bytes) -> bool:
        """Whether the layer has anything at *path*, or above it, in the place of what lower layers have.

        A directory where they have one is no such thing. Raises OSError.
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
        """Forget those of *nodes* that only marks speak of."""
        for node in nodes:
            if node.marked and node.parent is not None:
                node.parent.children.pop(node.name, None)

    @staticmethod
    def _end_marks(node: DirectoryNode, hidden: bool) -> None:
        """Of marks at or below what *node* hides, only that a directory of this layer hides what lies below is left."""
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
        """Make a regular file, in place of all that may be there (`_replace` first), and count it."""

    @abstractmethod
    def _make_symlink(self, node: DirectoryNode, name: bytes, entry: Entry) -> None:
        """Make a symlink, in place of a file that may be there, and count it."""

    @abstractmethod
    def _make_node(self, node: DirectoryNode, name: bytes, entry: Entry) -> None:
        """Make a device or a FIFO, and count it; nothing is there any more."""

    @abstractmethod
    def _make_link(self, source: DirectoryNode, last: bytes, node: DirectoryNode, name: bytes) -> bool:
        """Let *name* be the file *last* of *source*, and count it; False when there is none."""

    @abstractmethod
    def _make_directory(self, node: DirectoryNode) -> None:
        """Make the directory, if that has not been done; it is `fresh` where it takes the place of a file."""

    @abstractmethod
    def _exists(self, node: DirectoryNode, name: bytes) -> bool:
        """Whether the layer has anything but a directory at *name*."""

    @abstractmethod
    def _drop_file(self, node: DirectoryNode, name: bytes) -> None:
        """Remove the file at *name*, if there is one."""

    @abstractmethod
    def _drop_directory(self, child: DirectoryNode) -> None:
        """Remove a directory that has left the shape, with all that is in it."""

    # --- marks ------------------------------------------------------------------------------------------------------

    def _take_mark(self, entry: Entry) -> bool:
        """Note what *entry* says of others; whether that is all it is."""
        mark, hidden = classify(entry.path)
        if 0 in hidden:
            raise UnsafePathError(shown(entry.path), "not a name that a file can have")
        if mark is Mark.WHITEOUT:
            self._hide(hidden)
        elif mark is Mark.OPAQUE:
            self._allowance.hold(NAME + len(hidden))
            self._opaque.append(hidden)
        elif mark is Mark.PSEUDO_LINK:
            return entry.kind not in _LINKED_BY_AUFS
        return mark is not Mark.NONE

    def _hide(self, path: bytes) -> None:
        """Note a whiteout, for the end."""
        self._allowance.hold(NAME + len(path))
        self._whiteouts.append(path)

    def _marked(self, path: bytes) -> DirectoryNode | None:
        """The directory that a mark is about; None when this layer has something else there, which hides all below."""
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
        """The directory that *parent* leads to, which is kept at hand."""
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
        """Have a symlink in the shape. Where nothing was, a path may have come by all the same, and back by `..`."""
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
        # What only a lower layer can answer: a directory that is merely implied may be a symlink there, and a target
        # that goes away because the link takes the place of its directory may still be there.
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
        """Forget what the shape knows at *name*. A directory goes from the tree too, anything else stays there."""
        child = node.children.pop(name, None)
        if child is None:
            return
        self._forget_places()
        if isinstance(child, DirectoryNode):
            self._pass_all(child)
            self._drop_directory(child)

    def _pass_all(self, node: DirectoryNode) -> None:
        """Note every directory at or below *node*, which goes, that has no entry."""
        todo = [node]
        while todo:
            one = todo.pop()
            if one.entry is None:
                self._pass(one.path)
            todo.extend(one.directories())

    def _pass(self, path: bytes) -> None:
        self._allowance.hold_passed(path)
        self._passed.add(path)
