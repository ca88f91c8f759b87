"""The on-disk layout: names of everything under the root and the runroot, and their creation.

<root>/store.json                   the store's id (`identity`)
<root>/ids.json                     the subordinate ids of its files (`granted_ids`)
<root>/oci-layout, index.json       derived from the graph; with blobs/ they make the root an OCI image layout
<root>/blobs/<algorithm>/<hex>      immutable, verified before they get the name
<root>/trees/<hex of the key>/      fs/ (directory form), or layer.tar and layer.erofs (index form); needs.json
<root>/containers/<id>/             upper/ work/ and what the runtime keeps there
<root>/volumes/<name>/              data/ and its record; made with the first volume (`store.volumes`)
<root>/ingest/<owner>-<random>/     in flight; only the process that the name identifies looks inside
<root>/ingest/partial/              beginnings of blobs that were being fetched (`partial`)
<root>/graph/                       LMDB
<root>/mounts/<id>.json             what is mounted; each record is valid in the boot in which it was written
<runroot>/mounts/, blank/, shared/  lost at a reboot; nothing durable depends on them
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
"""The file under the root that contains the store's id."""

IDS_FILE = "ids.json"
"""The file under the root that lists the subordinate ids of its files (`granted_ids`)."""

RESERVED = frozenset(
    {
        STORE_FILE,
        IDS_FILE,
        "oci-layout",
        "index.json",
        "blobs",
        "trees",
        "containers",
        "ingest",
        "graph",
        "mounts",
        "pipelines",
        "volumes",
    }
)
"""Names under the root that belong to the store."""

KEPT_ASIDE = "graph.damaged-"
"""Prefix of the directories below the root in which `check --repair` keeps damaged graphs."""

_OF_THE_DISK = frozenset({"lost+found", "lost_found"})
"""Directories that mkfs or fsck makes at the top of a file system (ext4, bcachefs; f2fs)."""

_OF_A_BOOT = frozenset({"mounts", "blank", "shared", "runtime.json", "forms.json", "listings", "stores", "config.json"})
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
        """The records of mounts (`mounts.table`); the directory is made with the first record."""
        return f"{self.root}/mounts"

    @property
    def targets(self) -> str:
        """The parent of the default mount points, with symlinks resolved, as the kernel shows them."""
        return f"{os.path.realpath(self.runroot)}/mounts"

    @property
    def contents(self) -> str:
        """The directory of the index of contents (`store.contents`)."""
        return f"{self.graph}/contents"

    @property
    def claims(self) -> str:
        """The file of claims (`claims`)."""
        return f"{self.graph}/claims"

    @property
    def damage(self) -> str:
        """The file that lists known damage (`maintenance.verdicts`); absent when there is none."""
        return f"{self.graph}/damage.json"

    def blob(self, digest: str) -> str:
        """Return the path of the blob *digest*. The digest is parsed first, because it becomes part of a path."""
        parsed = Digest(digest)
        return f"{self.root}/blobs/{parsed.algorithm}/{parsed.hex}"

    def tree(self, key: str) -> str:
        """Return the path of the tree *key*."""
        return f"{self.root}/trees/{Digest(key).hex}"

    @property
    def volumes(self) -> str:
        """The parent of all named volumes; the directory is made with the first one."""
        return f"{self.root}/volumes"

    def volume(self, name: str) -> str:
        """Return the path of the volume *name*."""
        return f"{self.root}/volumes/{name}"

    def container(self, container_id: str) -> str:
        """Return the path of the container *container_id*."""
        return f"{self.root}/containers/{container_id}"

    def create(self, graph: bool = True) -> None:
        """Create missing directories, and make both directories private to the owner.

        Without *graph*, the graph's directory is not created: in an existing store, a missing graph is damage. A store
        that this process may only read is left as it is, and needs no runroot. Raises HostError for a directory that is
        open to other users and contains foreign files, PermissionDeniedError for another user's directory without a
        store, StoreDamagedError for a file in place of a directory, and OSError.
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
            # Check a second time: another process may have made the directory in the meantime.
            if os.path.lexists(path) and not os.path.isdir(path) and path != self.graph:
                hint = "move it away, then run `arstore check --repair`"
                raise StoreDamagedError(path, "is not a directory, but the store needs a directory there", hint)
        if missing:
            require_local(self.root, self.root)
            # New directories inherit the ACL that the root inherited from its parent, and containers would show it.
            remove_acls(self.root)
        for path in missing:
            os.makedirs(path, mode=0o700, exist_ok=True)
            reached("store.directories-made")
        if any(os.path.dirname(path) != self.root for path in missing):
            # The root is synced when the store gets its id. A blob's name is useless without its directory's name.
            sync_directory(f"{self.root}/blobs")

    def create_runroot(self) -> None:
        """Create the runroot, if this process can, and make it private. Readers do not need one."""
        with suppress(OSError, HostError):
            _make_private(self.runroot, _OF_A_BOOT)

    def own(self) -> list[str]:
        """Return the directories of the layout below the root, parents first."""
        blobs = [f"{self.root}/blobs/{algorithm}" for algorithm in HEX_LENGTHS]
        return [self.trees, self.ingest, self.containers, self.graph, f"{self.root}/blobs", *blobs]

    def make_blank(self, number: int) -> str:
        """Return the path of an empty directory; create it if missing (a reboot empties the runroot). Raises OSError.

        Overlayfs requires two lower layers: an image with one tree or none gets blank ones below.
        """
        path = f"{self.runroot}/blank/{number}"
        os.makedirs(path, mode=0o755, exist_ok=True)
        return path


def _make_private(path: str, own: frozenset[str]) -> None:
    """Create the directory *path*, or make it private: layers set their own modes and owners, so it must be closed.

    An open directory may be one of the system's, named by mistake. It is closed only if it is empty or contains one of
    the names *own*. Raises HostError, OSError.
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
        why = "contains other files and is open to other users; as a store it would be closed to them"
        raise HostError(path, why, "use an empty directory, or a new one")
    os.chmod(path, _PRIVATE)


def own_names(path: str) -> list[str]:
    """Return the names in the directory *path*, except those of the file system (`lost+found`). Raises OSError."""
    return [name for name in os.listdir(path) if not is_of_the_disk(name, f"{path}/{name}")]


def is_of_the_disk(name: str, path: str) -> bool:
    """Return whether *path*, called *name*, is a directory that belongs to a file system: `lost+found` of ext4."""
    return name in _OF_THE_DISK and os.path.isdir(path) and not os.path.islink(path)


def _make_parents(path: str) -> None:
    """Create the missing parents of *path*, not writable for other users whatever the umask is."""
    missing = []
    while not os.path.exists(path):
        missing.append(path)
        path = os.path.dirname(path)
    for each in reversed(missing):
        with suppress(FileExistsError):
            os.mkdir(each, 0o755)


@contextmanager
def opened(path: str) -> Iterator[int]:
    """Open the directory *path*, which must not be a symlink, during the context. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
