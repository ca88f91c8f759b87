"""Where everything lies under the root and the runroot: the on-disk layout as names, and its creation.

    <root>/oci-layout, index.json       derived from the graph; with blobs/ they make the root an OCI image layout
    <root>/blobs/<algorithm>/<hex>      immutable, verified before they get the name
    <root>/trees/<hex of the key>/      fs/ (directory form), or layer.tar and layer.erofs (index form); needs.json
    <root>/containers/<id>/             upper/ work/ and what the runtime keeps there
    <root>/ingest/<lease>/              in flight; nobody but the lease's process looks inside
    <root>/graph/                       LMDB
    <runroot>/mounts/, <runroot>/blank/ gone after a reboot, and nothing durable depends on them
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from arstore.digest import HEX_LENGTHS, Digest
from arstore.trace import reached

RESERVED = frozenset({"oci-layout", "index.json", "blobs", "trees", "containers", "ingest", "graph", "pipelines"})
"""Names under the root that are the store's own."""


@dataclass(slots=True, frozen=True)
class Directories:
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
        """Make what is missing, closed to everybody but the owner. Raises OSError."""
        for path in (self.root, self.runroot):
            os.makedirs(path, mode=0o700, exist_ok=True)
        os.chmod(self.root, 0o700)
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


def sync_directory(path: str) -> None:
    """Make the names in the directory *path* durable (fsync(2), "Calling fsync() does not necessarily ensure ...")."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
