"""Attachments in a repository that is pushed to: find those that exist, and put the missing ones.

Distribution-spec, "Pushing Manifests with Subject"; cosign's tags `sha256-HEX.sig`, `.att`, `.sbom`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.errors import RegistryAnswerError, RegistryNotFoundError
from arstore.oci.attachment import UNITED, is_among, tag_of, united
from arstore.oci.manifest import Manifest
from arstore.oci.media_type import OCI_MANIFEST
from arstore.registry.manifests import get_manifest, head_manifest, put_manifest
from arstore.registry.referrers import entries_of, put_referrer
from arstore.registry.repository import PUSH
from arstore.transport.sink import put_blob

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.registry.repository import Repository
    from arstore.transport.sink import BlobSink, OutgoingAttachment

    Place = tuple[Digest, str]
    """A subject and the suffix of a tag."""


_TRIES = 5


class AttachedThere:
    """Attachments in *repository*."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._tagged: dict[Place, bytes | None] = {}
        self._kept: list[OutgoingAttachment] = []
        self.is_asked = False
        """Whether attachments will come; it is not known whether the registry has their blobs."""

    def missing(self, some: Sequence[OutgoingAttachment]) -> list[OutgoingAttachment]:
        """Those of *some* that do not exist yet. Raises RegistryError, ManifestError, LimitError."""
        self.is_asked = True
        # A copy that starts again puts all of them again.
        self._kept = []
        listed = {subject: self._listed(subject) for subject in {one.subject for one in some if _refers(one)}}
        return [one for one in some if not self._is_there(one, listed)]

    def keep(self, attachment: OutgoingAttachment) -> None:
        """Keep an attachment to put it later; its blobs are there already."""
        self._kept.append(attachment)

    def forget(self) -> None:
        """Drop the attachments that were kept, because the copy starts again."""
        self._kept.clear()

    def put(self, blobs: BlobSink) -> None:
        """Put the attachments that were kept. Raises the errors of `put_referrer`, and those of an upload."""
        by_tag: dict[Place, list[OutgoingAttachment]] = {}
        for one in self._kept:
            if _refers(one):
                put_referrer(self._repository, one.descriptor.digest, one.descriptor.media_type, one.raw)
            if one.tag:
                by_tag.setdefault((one.subject, one.tag), []).append(one)
        for place, some in by_tag.items():
            self._put_tag(place, some, blobs)

    def _listed(self, subject: Digest) -> set[Digest]:
        """The referrers that the registry lists for *subject* and has."""
        listed = {entry.digest for entry in entries_of(self._repository, subject)}
        return {digest for digest in listed if head_manifest(self._repository, digest, PUSH) is not None}

    def _is_there(self, one: OutgoingAttachment, listed: dict[Digest, set[Digest]]) -> bool:
        if _refers(one) and one.descriptor.digest not in listed[one.subject]:
            return False
        if not one.tag:
            return True
        there = self._under((one.subject, one.tag))
        if there is None or there == one.raw or one.tag not in UNITED:
            return there == one.raw
        layers = Manifest.parse(there).layers
        return all(is_among(layer, layers) for layer in Manifest.parse(one.raw).layers)

    def _under(self, place: Place) -> bytes | None:
        """The manifest under a tag, fetched once; None if there is none."""
        if place not in self._tagged:
            try:
                self._tagged[place] = get_manifest(self._repository, tag_of(*place)).raw
            except RegistryNotFoundError:
                self._tagged[place] = None
        return self._tagged[place]

    def _put_tag(self, place: Place, some: Sequence[OutgoingAttachment], blobs: BlobSink) -> None:
        """Put *some* under their tag together with the existing ones; of SBOMs only the last one is kept."""
        there = self._under(place)
        tag, last = tag_of(*place), some[-1]
        every = [raw for raw in (there, *(one.raw for one in some)) if raw is not None]
        if place[1] not in UNITED or len(every) == 1:
            put_manifest(self._repository, tag, last.descriptor.media_type, last.raw)
            return
        for _ in range(_TRIES):
            wanted = [layer for raw in every for layer in Manifest.parse(raw).layers]
            made = united(wanted)
            put_blob(blobs, made.config)
            put_manifest(self._repository, tag, OCI_MANIFEST, made.manifest)
            # Another process may have read the tag before us, and written it after us.
            found = get_manifest(self._repository, tag).raw
            layers = Manifest.parse(found).layers
            if all(is_among(layer, layers) for layer in wanted):
                return
            every = [found, *every]
        raise RegistryAnswerError(f"{self._repository.what}:{tag}", "is changed by other clients all the time")


def _refers(one: OutgoingAttachment) -> bool:
    """Whether the manifest names its subject itself."""
    return not one.tag or Manifest.parse(one.raw).subject == one.subject
