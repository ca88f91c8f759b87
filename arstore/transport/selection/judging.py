"""A source before a policy: what its images are called there, which documents lead to each, and the verdicts.

What a policy calls an image depends on the form that its source has, also where the user did not say which. So a
section that accepts is open to whoever chooses the form of a file (docs/design/decisions/0062). Not in scope: where
signatures come from. Callers give a function for that, which is asked for the signatures of one document by its digest;
`beside` is the one for files.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.errors import ArstoreError, ManifestError, MissingBlobError, SignatureError
from arstore.oci.descriptor import Descriptor
from arstore.tar.limits import DEFAULT_LIMITS, Limits
from arstore.transport.dir import Dir
from arstore.transport.docker_archive import DockerArchive
from arstore.transport.documents import Documents
from arstore.transport.location import REGISTRY, STREAM
from arstore.transport.media.base import Medium
from arstore.transport.selection.selector import Selector, Wanted
from arstore.transport.source import attached_to
from arstore.trust import cosign, dir_file
from arstore.trust.examine import Finding, examine
from arstore.trust.policy import scope
from arstore.trust.policy.evaluate import Signed, judge
from arstore.trust.signature import MOST
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from arstore.digest import Digest
    from arstore.oci.descriptor import Flawed
    from arstore.transport.location import Location
    from arstore.transport.source import Attached, ImageSource
    from arstore.trust.keys import PublicKey
    from arstore.trust.openpgp.verify import Keyring
    from arstore.trust.policy.material import Material
    from arstore.trust.policy.model import Policy
    from arstore.trust.policy.subject import Subject
    from arstore.trust.policy.verdict import Verdict
    from arstore.trust.signature import Signature

    SignaturesOf: TypeAlias = Callable[[Digest], Sequence[Signature]]
    """The signatures of the manifest or index of this digest. Raises SignatureError and the errors of the source."""


_TAGS = frozenset({"", "sig"})
"""Suffixes of tags under which signatures stand; "" is a referrer."""


class Judged(NamedTuple):
    """One image that would be taken, by its manifest's digest and its names, and the verdict about it."""

    digest: str
    names: tuple[str, ...]
    verdict: Verdict


class Ruling(NamedTuple):
    """How to decide: by which *policy* (None: all is accepted), and whether signatures are needed in any case."""

    policy: Policy | None
    require_signatures: bool = False
    material: Material | None = None


def judge_source(
    source: ImageSource,
    location: Location,
    wanted: Wanted,
    ruling: Ruling,
    signatures: SignaturesOf,
    limits: Limits = DEFAULT_LIMITS,
) -> list[Judged]:
    """The verdict on each image of *source* that is *wanted*; the user named it by *location*.

    Raises the errors of the source and of `Selector`, and those of `judge`.
    """
    # What is attached is asked for only where a requirement needs it.
    selection = Selector(source, wanted._replace(referrers=False), limits).select()
    documents = Documents(source, limits, source.facts if isinstance(source, Medium) else None)
    chains = _Chains(source, documents, limits).found
    subject = subject_of(source, location)

    def signed(digest: Digest, media_type: str, content: bytes) -> Signed:
        return Signed(media_type or None, content, lambda: signatures(digest))

    judged = []
    for image in selection.images.values():
        within = [signed(one.digest, one.media_type, documents.get(one)) for one in chains.get(image.digest, ())]
        verdict = judge(
            ruling.policy,
            subject,
            signed(image.digest, image.media_type, image.manifest),
            within,
            require_signatures=ruling.require_signatures,
            material=ruling.material,
        )
        judged.append(Judged(image.digest, image.names, verdict))
    return judged


class Examined(NamedTuple):
    """One image that would be taken, by its manifest's digest and its names, and each of its signatures."""

    digest: str
    names: tuple[str, ...]
    findings: tuple[Finding, ...]


def examine_source(
    source: ImageSource,
    wanted: Wanted,
    keys: Sequence[PublicKey],
    keyring: Keyring | None,
    signatures: SignaturesOf,
    limits: Limits = DEFAULT_LIMITS,
) -> list[Examined]:
    """Look at the signatures of each image of *source* that is *wanted*, and of the indexes that list it.

    Raises the errors of the source and of `Selector`, and SignatureError for too many signatures.
    """
    selection = Selector(source, wanted._replace(referrers=False), limits).select()
    documents = Documents(source, limits, source.facts if isinstance(source, Medium) else None)
    chains = _Chains(source, documents, limits).found
    examined = []
    for image in selection.images.values():
        about = [image.digest, *(one.digest for one in chains.get(image.digest, ()))]
        findings = [one for digest in about for one in examine(signatures(digest), digest, keys, keyring)]
        examined.append(Examined(image.digest, image.names, tuple(findings)))
    return examined


def subject_of(source: ImageSource, location: Location) -> Subject:
    """What a policy calls the images of *source*, by its form and the path or the reference. Raises OSError."""
    reference = getattr(source, "reference", None)
    if location.transport == REGISTRY and reference is not None:
        return scope.registry_subject(reference)
    transport = _transport(source)
    if transport == "docker-archive" or location.path == STREAM:
        return scope.unnamed_subject(transport)
    return scope.path_subject(transport, location.path)


def beside(source: ImageSource) -> SignaturesOf:
    """The signatures that *source* has: files of a `dir:`, and what is attached to images elsewhere.

    What belongs to another image, is no signature, or cannot be read is passed over: it does not make an image good.
    """
    documents = Documents(source, DEFAULT_LIMITS, source.facts if isinstance(source, Medium) else None)

    def signatures(digest: Digest) -> list[Signature]:
        if isinstance(source, Dir):
            return dir_file.read_files(source.signature_files(digest))
        found: list[Signature] = []
        for one in attached_to(source, digest)[: MOST + 1]:
            with suppress(ManifestError, MissingBlobError, SignatureError):
                found += _attached(documents, digest, one)
        return found

    return signatures


def _attached(documents: Documents, subject: Digest, one: Attached) -> list[Signature]:
    """The signatures in one manifest that is said to belong to *subject*: by cosign's tag, or by its own word."""
    raw = documents.get(one.descriptor)
    if one.tag not in _TAGS or (not one.tag and documents.manifest(one.descriptor).subject != subject):
        return []
    slots = cosign.slots_of(raw)
    blobs = [Descriptor(slot.media_type, slot.digest, slot.size) for slot in slots]
    return [cosign.signature_in(slot, documents.config(blob)) for slot, blob in zip(slots, blobs, strict=True)]


def _transport(source: ImageSource) -> str:
    if isinstance(source, DockerArchive):
        return "docker-archive"
    if isinstance(source, Dir):
        return "dir"
    return "oci" if isinstance(source, Medium) and source.in_directory else "oci-archive"


class _Chains:
    """For each manifest of a source, by its digest, the indexes that lead to it, the nearest first."""

    def __init__(self, source: ImageSource, documents: Documents, limits: Limits) -> None:
        self.found: dict[str, tuple[Descriptor, ...]] = {}
        self._documents = documents
        self._depth = limits.index_depth
        for image in source.images():
            self._walk(image.descriptor, ())

    def _walk(self, entry: Descriptor | Flawed, within: tuple[Descriptor, ...]) -> None:
        if not isinstance(entry, Descriptor) or entry.digest in self.found or len(within) > self._depth:
            return
        self.found[entry.digest] = within
        try:
            entries = self._documents.index(entry).entries if self._documents.nature(entry).is_index else ()
        except ArstoreError:
            # What an index lists need not be whole, nor an image. Whatever is taken was read by the selector before.
            return
        for one in entries:
            self._walk(one, (entry, *within))
