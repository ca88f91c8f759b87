"""Findings: the kinds of damage and disorder that a store can have."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from arstore.workers.wire import answer


@answer
class Damage(Enum):
    """Kinds of findings. Those in `HARMLESS` do not make a store damaged; most are clutter that `gc` removes."""

    BLOB_MISSING = "blob-missing"
    BLOB_SIZE = "blob-size"
    BLOB_DIGEST = "blob-digest"
    TREE_MISSING = "tree-missing"
    TREE_UNTRUSTED = "tree-untrusted"
    TREE_UNRECORDED = "tree-unrecorded"
    TREE_ALTERED = "tree-altered"
    LAYER_PARENT = "layer-parent"
    LAYER_BLOB = "layer-blob"
    IMAGE_BLOB = "image-blob"
    IMAGE_LAYER = "image-layer"
    ATTACHMENT_SUBJECT = "attachment-subject"
    ATTACHMENT_BLOB = "attachment-blob"
    NAME_IMAGE = "name-image"
    CONTAINER_IMAGE = "container-image"
    CONTAINER_MISSING = "container-missing"
    CONTAINER_UNRECORDED = "container-unrecorded"
    CONTAINER_ATTRIBUTES = "container-attributes"
    CONTAINER_REQUEST = "container-request"
    CONTAINER_USES = "container-uses"
    VOLUME_RECORD = "volume-record"
    GRAPH_PAGES = "graph-pages"
    GRAPH_LOST = "graph-lost"
    STORE_ID = "store-id"
    RECORD_DAMAGED = "record-damaged"
    RECORD_WRONG = "record-wrong"
    INDEX_STALE = "index-stale"
    LAYOUT = "layout"
    PERMISSIONS = "permissions"
    ORPHAN = "orphan"
    STRAY = "stray"
    STALE_INGEST = "stale-ingest"
    STALE_MOUNT = "stale-mount"
    LENT_ABSENT = "lent-absent"
    CONTENTS_INDEX = "contents-index"


NO_GRAPH = frozenset({Damage.GRAPH_PAGES, Damage.GRAPH_LOST, Damage.STORE_ID})
"""Kinds after which the graph is not read, because its content cannot be trusted."""

HARMLESS = frozenset(
    {
        Damage.ORPHAN,
        Damage.STRAY,
        Damage.STALE_INGEST,
        Damage.STALE_MOUNT,
        Damage.TREE_UNTRUSTED,
        Damage.TREE_UNRECORDED,
        Damage.ATTACHMENT_SUBJECT,
        Damage.CONTENTS_INDEX,
    }
)


@answer
@dataclass(slots=True, frozen=True)
class Finding:
    """One finding; `repaired` is set once it has been repaired."""

    damage: Damage
    what: str
    why: str
    repaired: bool = False

    @property
    def harmless(self) -> bool:
        """Whether everything works in spite of it."""
        return self.damage in HARMLESS
