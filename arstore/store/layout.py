"""The store as an OCI image layout: `oci-layout` and `index.json`, derived from the graph.

Every name is one descriptor with the annotation `org.opencontainers.image.ref.name`; an image without a name gets its
own digest there, so that tools which find images by that annotation alone see it too. OCI image-spec,
image-layout.md.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from arstore.store.ingest import Owner

if TYPE_CHECKING:
    from arstore.store.directories import Directories
    from arstore.store.graph import Graph, Snapshot

REF_NAME = "org.opencontainers.image.ref.name"
_INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


def index_document(snapshot: Snapshot) -> bytes:
    """`index.json` for what the graph holds: names in their order, then the images that have none."""
    names = snapshot.names_by_digest()
    named: list[tuple[bool, str, dict[str, object]]] = []
    for digest, image in snapshot.images():
        blob = snapshot.blob(digest)
        if blob is None:
            continue
        for name in names.get(digest, [digest]):
            descriptor: dict[str, object] = {"mediaType": image.media_type, "digest": digest, "size": blob.size}
            descriptor["annotations"] = {REF_NAME: name}
            named.append((name == digest, name, descriptor))
    named.sort(key=lambda item: item[:2])
    document = {"schemaVersion": 2, "mediaType": _INDEX_TYPE, "manifests": [descriptor for _, _, descriptor in named]}
    return json.dumps(document, indent=1).encode() + b"\n"


def write_layout(directories: Directories, graph: Graph) -> None:
    """Bring `index.json` up to the graph. Raises OSError and the errors of Graph.

    The writer's lock is held, though nothing is written to the graph: of two processes that publish at once the later
    one then writes the index, and writes it from what both have published.
    """
    with graph.write() as change:
        _replace(f"{directories.root}/index.json", index_document(change))
    if not os.path.exists(f"{directories.root}/oci-layout"):
        _replace(f"{directories.root}/oci-layout", b'{"imageLayoutVersion":"1.0.0"}\n')


def _replace(path: str, data: bytes) -> None:
    temporary = f"{path}.{Owner.current().directory_name()}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fdatasync(fd)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
