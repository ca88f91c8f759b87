"""Attachments in a layout: entries of `index.json` that belong to another manifest (`oci.attachment`).

Four ways of marking them are read:

* a manifest with the field `subject`, as oras, arstore and others list it,
* the name `sha256-HEX.sig` (`.att`, `.sbom`), which copies of cosign's tags have,
* the name `sha256-HEX` for an index whose manifests have a `subject`: the referrers tag schema, as regclient writes it,
* `kind` among the annotations, as `cosign save` writes it: one image, its signatures and its attestations. cosign 3
  does not list bundles: in such a layout, a manifest among the blobs that has a `subject` is attached to it as well.

A manifest is read only if its entry has no name, or says that it is an artifact, so many named images cost no time.
Entries that cannot be read are not attachments.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.digest import is_digest
from arstore.errors import ArstoreError
from arstore.oci.attachment import KIND, KIND_OF_IMAGE, KIND_OF_INDEX, KINDS, tag_in
from arstore.oci.descriptor import CONTAINERD_NAME, REF_NAME, Descriptor, Flawed
from arstore.oci.media_type import may_be_image
from arstore.transport.source import Attached

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from arstore.digest import Digest
    from arstore.transport.documents import Documents
    from arstore.transport.source import SourceImage

_SUFFIX_OF = {kind: suffix for suffix, kind in KINDS.items()}


class AttachedEntries:
    """The attachments among the *entries* of a layout; *documents* reads their manifests.

    *unlisted* gives the documents that lie among the blobs. It is asked for a layout of `cosign save` only.
    """

    def __init__(
        self,
        entries: Sequence[Descriptor | Flawed],
        documents: Documents,
        unlisted: Callable[[], Iterable[Descriptor]] = tuple,
    ) -> None:
        self._documents = documents
        self._of: dict[str, dict[str, Attached]] = {}
        self._subjects: dict[str, set[Digest]] = {}
        self._lists: set[str] = set()
        self._tagged: set[str] = set()
        signed = _signed(entries)
        for entry in entries:
            documents.work.visit()
            if isinstance(entry, Descriptor) and may_be_image(entry.media_type):
                with suppress(ArstoreError):
                    self._add_entry(entry, signed)
        if signed is not None:
            listed = {entry.digest for entry in entries}
            for one in unlisted():
                documents.work.visit()
                if one.digest not in listed:
                    with suppress(ArstoreError):
                        self._add_referring(one)

    def of(self, subject: Digest) -> Sequence[Attached]:
        """The attachments of the manifest *subject*, in the order of the list."""
        return tuple(self._of.get(subject, {}).values())

    def has(self, image: SourceImage, is_here: Callable[[Digest], bool]) -> bool:
        """Whether the entry *image* is attached to a manifest that is here, and is not an image with its own name."""
        entry = image.descriptor
        if entry.digest in self._lists:
            return True
        if isinstance(entry, Flawed) or not any(map(is_here, self._subjects.get(entry.digest, ()))):
            return False
        names = image.names if image.names != (image.fallback,) else ()
        # A tag of attachments does not name an image. The documents of the other entries were read already.
        return not names or entry.digest in self._tagged or bool(self._documents.nature(entry).artifact)

    def _add_entry(self, entry: Descriptor, signed: Digest | None) -> None:
        tag = tag_in(entry.annotations)
        suffix = _SUFFIX_OF.get(entry.annotations.get(KIND, ""), "")
        if tag is not None and tag.suffix:
            if tag.subject is not None:
                self._add(tag.subject, Attached(entry, tag.suffix))
        elif tag is not None and self._documents.nature(entry).is_index:
            self._lists.add(entry.digest)
            for one in self._documents.index(entry).manifests:
                self._documents.work.visit()
                with suppress(ArstoreError):
                    self._add_referring(one)
        elif suffix and signed is not None:
            self._add(signed, Attached(entry, suffix))
        elif not _has_own_name(entry) or entry.artifact_type:
            self._add_referring(entry)

    def _add_referring(self, entry: Descriptor) -> None:
        if not self._documents.nature(entry).is_index:
            subject = self._documents.manifest(entry).subject
            if subject is not None:
                self._add(subject, Attached(entry))

    def _add(self, subject: Digest, one: Attached) -> None:
        self._of.setdefault(subject, {}).setdefault(one.descriptor.digest, one)
        if one.tag:
            self._tagged.add(one.descriptor.digest)
        self._subjects.setdefault(one.descriptor.digest, set()).add(subject)


def _signed(entries: Sequence[Descriptor | Flawed]) -> Digest | None:
    """The first image in a layout written by `cosign save`; None for any other layout."""
    for entry in entries:
        if isinstance(entry, Descriptor) and entry.annotations.get(KIND, "") in {KIND_OF_IMAGE, KIND_OF_INDEX}:
            return entry.digest
    return None


def _has_own_name(entry: Descriptor) -> bool:
    name = entry.annotations.get(REF_NAME, "")
    return bool(name and not is_digest(name)) or CONTAINERD_NAME in entry.annotations
