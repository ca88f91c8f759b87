"""Where everything lies under the root and the runroot: the on-disk layout as names, and its creation.

<root>/store.json                   the store's id (`identity`)
<root>/oci-layout, index.json       derived from the graph; with blobs/ they make the root an OCI image layout
<root>/blobs/<algorithm>/<hex>      immutable, verified before they get the name
<root>/trees/<hex of the key>/      fs/ (directory form), or layer.tar and layer.erofs (index form); needs.json
<root>/containers/<id>/             upper/ work/ and what the runtime keeps there
<root>/ingest/<lease>/              in flight; nobody but the lease's process looks inside
<root>/ingest/partial/              beginnings of blobs that were being fetched (`partial`)
<root>/graph/                       LMDB
<root>/mounts/<id>.json             what is mounted; each record counts in the boot in which it was written
<runroot>/mounts/, blank/, shared/   gone after a reboot, and nothing durable depends on them
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from arstore.digest import HEX_LENGTHS, Digest
from arstore.disk.access import Access, access_to, require_local, require_writable
from arstore.errors import HostError, StoreDamagedError
from arstore.linux.files.sync import sync_directory
from arstore.linux.files.xattr import remove_acls
from arstore.trace import reached
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

STORE_FILE = "store.json"
"""The file under the root that has the store's id."""

RESERVED = frozenset(
    {STORE_FILE, "oci-layout", "index.json", "blobs", "trees", "containers", "ingest", "graph", "mounts", "pipelines"}
)
"""Names under the root that are the store's own."""

KEPT_ASIDE = "graph.damaged-"
"""What the names of directories below the root begin with in which `check --repair` keeps damaged graphs."""

_OF_THE_DISK = frozenset({"lost+found", "lost_found"})
"""Directories that mkfs or fsck makes at the top of a file system (ext4, bcachefs; f2fs)."""

_OF_A_BOOT = frozenset({"mounts", "blank", "shared", "runtime.json", "forms.json", "listings", "stores"})
"""Names under the runroot; `stores` has the runroots of stores that are in other places."""
_PRIVATE = 0o700


class Directories(NamedTuple):
    """The two directories of a store, both absolute."""

    root: str
    runroot: str

    @property
    def trees(self) -> str:
        """The parent of all trees."""
        return f"{self.root}/trees"

    @property
    def ingest(self) -> str:
        """The parent of everything in flight."""
        return f"{self.root}/ingest"

    @property
    def containers(self) -> str:
        """The parent of all containers."""
        return f"{self.root}/containers"

    @property
    def graph(self) -> str:
        """The LMDB environment."""
        return f"{self.root}/graph"

    @property
    def mounts(self) -> str:
        """The records of mounts (`mounts.table`); made with the first of them."""
        return f"{self.root}/mounts"

    @property
    def targets(self) -> str:
        """The parent of the directories that are made to mount on, as the kernel shows them."""
        return f"{os.path.realpath(self.runroot)}/mounts"

    @property
    def claims(self) -> str:
        """The file of claims (`claims`)."""
        return f"{self.graph}/claims"

    @property
    def damage(self) -> str:
        """The file of what is known to be damaged (`maintenance.verdicts`); absent when nothing is."""
        return f"{self.graph}/damage.json"

    def blob(self, digest: str) -> str:
        """Where the blob *digest* lies; the digest is parsed first, because it becomes a path."""
        parsed = Digest(digest)
        return f"{self.root}/blobs/{parsed.algorithm}/{parsed.hex}"

    def tree(self, key: str) -> str:
        """Where the tree of this key lies."""
        return f"{self.root}/trees/{Digest(key).hex}"

    def container(self, container_id: str) -> str:
        """Where the container of this id lies."""
        return f"{self.root}/containers/{container_id}"

    def create(self, graph: bool = True) -> None:
        """Make what is missing, and close both directories to everybody but the owner.

        Without *graph*, the graph's directory is not made: where there is a store, a missing one is damage.
        A store that this process may only read is left as it is, and needs no runroot. Raises HostError for a directory
        that is open and holds what is not a store's, PermissionDeniedError for one of another user without a store;
        OSError.
        """
        if os.path.isdir(self.root) and access_to(self.root) is not Access.OWNER:
            if not os.path.isdir(self.graph):
                require_writable(self.root)
            self.create_runroot()
            return
        _make_private(self.root, RESERVED)
        _make_private(self.runroot, _OF_A_BOOT)
        missing = [path for path in self.own() if not os.path.isdir(path) and (graph or path != self.graph)]
        for path in missing:
            # Looked at again, after it was seen to be there: another process may have made the directory meanwhile.
            if os.path.lexists(path) and not os.path.isdir(path) and path != self.graph:
                hint = "move it away, then run `arstore check --repair`"
                raise StoreDamagedError(path, "is not a directory, and has the place of one of the store's", hint)
        if missing:
            require_local(self.root, self.root)
            # What is made below gets the ACL that the root has got from its parent, and containers would show it.
            remove_acls(self.root)
        for path in missing:
            os.makedirs(path, mode=0o700, exist_ok=True)
            reached("store.directories-made")
        if any(os.path.dirname(path) != self.root for path in missing):
            # The root is synced when the store gets its id; a blob's name is of no use without that of its directory.
            sync_directory(f"{self.root}/blobs")

    def create_runroot(self) -> None:
        """Make the runroot, if this process can, and close it: what only reads needs none."""
        with suppress(OSError, HostError):
            _make_private(self.runroot, _OF_A_BOOT)

    def own(self) -> list[str]:
        """The directories of the layout below the root, each after the one that it is in."""
        blobs = [f"{self.root}/blobs/{algorithm}" for algorithm in HEX_LENGTHS]
        return [self.trees, self.ingest, self.containers, self.graph, f"{self.root}/blobs", *blobs]

    def make_blank(self, number: int) -> str:
        """The path of an empty directory, made when it is missing (a reboot takes the runroot away).

        Overlayfs demands two lower layers: a blank one stands below where an image has one tree, or none.
        """
        path = f"{self.runroot}/blank/{number}"
        os.makedirs(path, mode=0o755, exist_ok=True)
        return path


def _make_private(path: str, own: frozenset[str]) -> None:
    """Make the directory *path*, or close it: layers have modes and owners of their own, so nobody may reach them.

    What was open may be a directory of the system's, named by mistake; it is closed only when it is empty or has one
    of our *own* names in it.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        _make_parents(os.path.dirname(path))
        with suppress(FileExistsError):
            os.mkdir(path, _PRIVATE)
            remove_acls(path)
        return
    if stat.S_IMODE(mode) == _PRIVATE and stat.S_ISDIR(mode):
        return
    names = own_names(path)
    if names and own.isdisjoint(names):
        why = "holds something else and is open to other users, to whom it would be closed as a store"
        raise HostError(path, why, "name an empty directory, or a new one")
    os.chmod(path, _PRIVATE)


def own_names(path: str) -> list[str]:
    """The names in the directory *path*, without what belongs to the file system whose top it is. Raises OSError."""
    return [name for name in os.listdir(path) if not is_of_the_disk(name, f"{path}/{name}")]


def is_of_the_disk(name: str, path: str) -> bool:
    """Whether *path*, called *name*, is a directory that belongs to a file system: `lost+found` of ext4."""
    return name in _OF_THE_DISK and os.path.isdir(path) and not os.path.islink(path)


def _make_parents(path: str) -> None:
    """Make what is missing on the way to *path*, writable for nobody else whatever the umask says."""
    missing = []
    while not os.path.exists(path):
        missing.append(path)
        path = os.path.dirname(path)
    for each in reversed(missing):
        with suppress(FileExistsError):
            os.mkdir(each, 0o755)


@contextmanager
def opened(path: str) -> Iterator[int]:
    """The directory *path*, which is no symlink, open for the length of the context. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
