"""Where everything lies under the root and the runroot: the on-disk layout as names, and its creation.

<root>/oci-layout, index.json       derived from the graph; with blobs/ they make the root an OCI image layout
<root>/blobs/<algorithm>/<hex>      immutable, verified before they get the name
<root>/trees/<hex of the key>/      fs/ (directory form), or layer.tar and layer.erofs (index form); needs.json
<root>/containers/<id>/             upper/ work/ and what the runtime keeps there
<root>/ingest/<lease>/              in flight; nobody but the lease's process looks inside
<root>/graph/                       LMDB
<runroot>/mounts/, blank/, shared/   gone after a reboot, and nothing durable depends on them
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from arstore.digest import HEX_LENGTHS, Digest
from arstore.errors import HostError
from arstore.trace import reached

if TYPE_CHECKING:
    from collections.abc import Iterator

RESERVED = frozenset({"oci-layout", "index.json", "blobs", "trees", "containers", "ingest", "graph", "pipelines"})
"""Names under the root that are the store's own."""


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

    def create(self) -> None:
        """Make what is missing, and close both directories to everybody but the owner.

        Raises HostError for one that is open and holds what is not a store's; OSError.
        """
        _make_private(self.root, RESERVED)
        _make_private(self.runroot, _OF_A_BOOT)
        blobs = [f"{self.root}/blobs/{algorithm}" for algorithm in HEX_LENGTHS]
        own = [self.trees, self.ingest, self.containers, self.graph, f"{self.root}/blobs", *blobs]
        for path in own:
            if not os.path.isdir(path):
                os.makedirs(path, mode=0o700, exist_ok=True)
                reached("store.directories-made")

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
        return
    if stat.S_IMODE(mode) == _PRIVATE and stat.S_ISDIR(mode):
        return
    names = os.listdir(path)
    if names and own.isdisjoint(names):
        why = "holds something else and is open to other users, to whom it would be closed as a store"
        raise HostError(path, why, "name an empty directory, or a new one")
    os.chmod(path, _PRIVATE)


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


def sync_directory(path: str) -> None:
    """Make the names in the directory *path* durable (fsync(2), "Calling fsync() does not necessarily ensure ...")."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
