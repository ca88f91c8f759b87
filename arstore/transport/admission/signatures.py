"""Signatures of a manifest, from its attachments in a source or a store.

Three kinds of layers hold a signature: an OpenPGP message, a payload as cosign attaches it, a sigstore bundle. Content
that is unreadable, belongs to another manifest, or is something else is skipped: it does not count as a signature. Not
in scope: whether a signature is valid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import ArstoreError, SignatureError
from arstore.oci.attachment import BUNDLE, OPENPGP
from arstore.transport.source import attached_to
from arstore.trust.cosign import PAYLOAD, Slot, signature_in
from arstore.trust.signature import LARGEST, MOST, SimpleSignature

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from arstore.digest import Digest
    from arstore.oci.descriptor import Descriptor
    from arstore.oci.manifest import Manifest
    from arstore.store.store import Store
    from arstore.transport.documents import Documents
    from arstore.transport.source import Attached, ImageSource
    from arstore.trust.signature import Signature

_TAG = "sig"


class Found(list["Signature"]):
    """Signatures; `carriers` are the attachments that contain them."""

    def __init__(self) -> None:
        super().__init__()
        self.carriers: list[Attached] = []


def of_source(source: ImageSource, documents: Documents, subject: Digest) -> Found:
    """The signatures that *source* has for the manifest *subject*, at most one more than are ever examined.

    Raises the errors of the source when it lists attachments.
    """
    found = Found()
    for one in attached_to(source, subject)[: MOST + 1]:
        documents.work.visit()
        try:
            manifest = documents.manifest(one.descriptor)
            if one.tag != _TAG and (one.tag or manifest.subject != subject):
                continue
            some = list(_in(manifest, documents.config))
        except ArstoreError:
            continue
        if some:
            found += some
            found.carriers.append(one)
        if len(found) > MOST:
            break
    return found


def of_store(store: Store, subject: Digest) -> Found:
    """The signatures that *store* has for the manifest *subject*. Raises the errors of Graph."""
    from arstore.tar.limits import DEFAULT_LIMITS
    from arstore.transport.documents import Documents
    from arstore.transport.export.from_store import StoreSource

    source = StoreSource(store, [])
    return of_source(source, Documents(source, DEFAULT_LIMITS), subject)


def _in(manifest: Manifest, read: Callable[[Descriptor], bytes]) -> Iterator[Signature]:
    """The signatures in the layers of *manifest*; *read* returns a layer's content."""
    for layer in manifest.layers[: MOST + 1]:
        if layer.media_type not in {OPENPGP, PAYLOAD, BUNDLE} or layer.size > LARGEST:
            continue
        data = read(layer)
        if layer.media_type == OPENPGP:
            yield SimpleSignature(data)
            continue
        slot = Slot(layer.media_type, layer.digest, layer.size, dict(layer.annotations))
        try:
            yield signature_in(slot, data)
        except SignatureError:
            continue
