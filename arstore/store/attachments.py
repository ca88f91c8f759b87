"""The attachments that the store keeps with an image (`oci.attachment`), as values.

Code that checks signatures starts here: `attachments` returns those of a digest, each with its manifest, whose layers
are blobs of the store (`Store.read_blob`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.oci.document import STORED
from arstore.oci.manifest import Manifest
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arstore.store.store import Store


class StoredAttachment(NamedTuple):
    """An attachment of `subject`; `tag` is the suffix of its tag in registries, "" if it names its subject itself."""

    subject: Digest
    digest: Digest
    manifest: Manifest
    tag: str


class StoredReferrer(NamedTuple):
    """An attachment as listed; `annotations` are the manifest's, `size` is the manifest's size in bytes."""

    digest: Digest
    media_type: str
    artifact_type: str
    size: int
    annotations: Mapping[str, str]


def attachments(store: Store, subject: Digest) -> list[StoredAttachment]:
    """Return the attachments of the manifest *subject*, sorted by digest, without attachments of those.

    Raises MissingBlobError, StoreDamagedError, and the errors of Graph.
    """
    with store.graph.read() as snapshot:
        found = snapshot.attachments_of(subject)
    return [
        StoredAttachment(
            subject,
            Digest(digest),
            Manifest.parse(store.read_blob(digest), f"manifest {digest}", one.media_type, STORED),
            one.tag,
        )
        for digest, one in found
    ]


def referrers_of(store: Store, subject: Digest) -> list[StoredReferrer]:
    """List the attachments of *subject*. Raises MissingBlobError, StoreDamagedError, and the errors of Graph."""
    with store.graph.read() as snapshot:
        types = {digest: one.artifact_type for digest, one in snapshot.attachments_of(subject)}
    return [
        StoredReferrer(
            one.digest,
            one.manifest.media_type,
            types.get(one.digest, ""),
            len(one.manifest.raw),
            dict(one.manifest.annotations),
        )
        for one in attachments(store, subject)
    ]
