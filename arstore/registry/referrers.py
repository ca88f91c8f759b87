"""Referrers of a manifest, from the registry's list, or from the index under a tag made of the digest.

Distribution-spec, "Listing Referrers" and "Referrers Tag Schema". The entries of a fallback index are not trusted
(cosign writes another type there), so every entry's manifest is fetched and examined.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.errors import ArstoreError, LimitError, RegistryAnswerError, RegistryNotFoundError
from arstore.oci.descriptor import Descriptor
from arstore.oci.document import BOUNDS, Fields, encode, parse
from arstore.oci.index import Index
from arstore.oci.media_type import OCI_INDEX
from arstore.pattern import pattern
from arstore.registry.link import pages
from arstore.registry.manifests import LacksPartsError, content_type, delete_tag, get_manifest, put_manifest
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from arstore.registry.http.exchange import Answer
    from arstore.registry.repository import Repository

    Change = Callable[[list[Descriptor]], list[Descriptor]]

MOST_OPENED = 128
"""Entries of a fallback index that are opened at most."""
MOST = 50_000
"""Entries of a list at most."""
_TRIES = 5
_NO_API = frozenset({400, 404, 405, 406, 415})
_ODD = pattern("[^A-Za-z0-9._-]")


class Referrer(NamedTuple):
    """A manifest that refers to another one; `annotations` are the manifest's own."""

    digest: Digest
    media_type: str
    artifact_type: str
    size: int
    annotations: dict[str, str]


class Referrers(NamedTuple):
    """The referrers of a manifest, and whether the registry itself lists them (`by_api`)."""

    entries: tuple[Referrer, ...]
    by_api: bool


class _NoApiError(Exception):
    """The registry does not list referrers."""


def fallback_tag(digest: Digest) -> str:
    """The tag of an index of referrers of *digest*, for a registry that does not list them."""
    algorithm, _, rest = str(digest).partition(":")
    return f"{_ODD.sub('-', algorithm[:32])}-{_ODD.sub('-', rest[:64])}"


def list_referrers(repository: Repository, digest: Digest, artifact_type: str = "") -> Referrers:
    """List the referrers of the manifest *digest*, or only those of *artifact_type*.

    Raises RegistryAccessError, RegistryAnswerError, RegistryUnreachableError, ManifestError, LimitError.
    """
    try:
        found, by_api = _by_api(repository, digest, artifact_type), True
    except _NoApiError:
        found, by_api = _by_tag(repository, digest), False
    entries = tuple(one for one in found if not artifact_type or one.artifact_type == artifact_type)
    return Referrers(entries, by_api)


def _by_api(repository: Repository, digest: Digest, artifact_type: str) -> list[Referrer]:
    from urllib.parse import quote

    def first(answer: Answer) -> None:
        if answer.status in _NO_API or (answer.status == 200 and content_type(answer) != OCI_INDEX):
            raise _NoApiError

    ask = repository.ask("GET", "referrers", digest)._replace(headers={"Accept": OCI_INDEX})
    if artifact_type:
        ask = ask._replace(path=f"{ask.path}?artifactType={quote(artifact_type, safe='')}")
    what = f"{repository.what}@{digest}"
    found: dict[Digest, Referrer] = {}
    for _, fields in pages(repository, ask, what, "to list the referrers", first):
        for one in fields.objects("manifests"):
            entry = Descriptor.read(one)
            kind = entry.artifact_type
            found[entry.digest] = Referrer(entry.digest, entry.media_type, kind, entry.size, dict(entry.annotations))
        if len(found) > MOST:
            raise LimitError(what, f"has more than {MOST} referrers")
    return list(found.values())


def _by_tag(repository: Repository, digest: Digest) -> list[Referrer]:
    index = _fallback(repository, digest)
    found = []
    for entry in () if index is None else index.manifests[:MOST_OPENED]:
        try:
            got = get_manifest(repository, entry.digest)
        except RegistryNotFoundError:
            continue
        fields = Fields(parse(got.raw, f"manifest {got.digest}"), f"manifest {got.digest}")
        subject = fields.child("subject")
        if subject is None or subject.digest("digest") != digest:
            continue
        kind = artifact_type_of(got.raw)
        found.append(Referrer(got.digest, got.media_type, kind, len(got.raw), fields.texts("annotations")))
    return found


def entries_of(repository: Repository, digest: Digest) -> list[Descriptor]:
    """The first MOST_OPENED manifests that the registry lists as referrers of *digest*; none is opened or trusted yet.

    Raises RegistryAccessError, RegistryAnswerError, RegistryUnreachableError, ManifestError, LimitError.
    """
    try:
        listed = _by_api(repository, digest, "")
    except _NoApiError:
        index = _fallback(repository, digest)
        return [] if index is None else list(index.manifests[:MOST_OPENED])
    return [Descriptor(one.media_type, one.digest, one.size, artifact_type=one.artifact_type) for one in listed][
        :MOST_OPENED
    ]


def _fallback(repository: Repository, digest: Digest) -> Index | None:
    """The fallback index; None if it does not exist. Raises ManifestError for anything else under its tag."""
    tag = fallback_tag(digest)
    try:
        got = get_manifest(repository, tag)
    except RegistryNotFoundError:
        return None
    return Index.parse(got.raw, f"{repository.what}:{tag}", got.media_type or None)


def artifact_type_of(raw: bytes) -> str:
    """The artifactType for a descriptor of the manifest *raw*: the manifest's own, or else its config's type."""
    document = json.loads(raw)
    kind = document.get("artifactType")
    config = document.get("config")
    if not kind and isinstance(config, dict):
        kind = config.get("mediaType")
    return kind if isinstance(kind, str) else ""


def subject_of(raw: bytes) -> Digest | None:
    """The digest in the `subject` of the manifest or index *raw*; None without one. Raises ManifestError."""
    fields = Fields(parse(raw, "manifest", BOUNDS), "manifest")
    subject = fields.child("subject")
    return None if subject is None else subject.digest("digest")


def put_referrer(repository: Repository, reference: str, media_type: str, raw: bytes) -> None:
    """Put a manifest. If it has a subject whose referrers the registry does not list, add it to the fallback index.

    A registry may list referrers without saying so in its answer (crane's does), so it is asked first.

    Raises the errors of `put_manifest`, LacksPartsError for the manifest alone, ManifestError, and RegistryAnswerError
    if other clients keep changing that index.
    """
    subject = subject_of(raw)
    answer = put_manifest(repository, reference, media_type, raw)
    if subject is None or answer.header("OCI-Subject") or _lists(repository, subject, Digest.of(raw)):
        return
    own = Fields(parse(raw, "manifest"), "manifest").texts("annotations")
    entry = Descriptor(media_type, Digest.of(raw), len(raw), own, artifact_type=artifact_type_of(raw))
    _rewrite(repository, subject, lambda entries: [*(one for one in entries if one.digest != entry.digest), entry])


def _lists(repository: Repository, subject: Digest, digest: Digest) -> bool:
    """Whether the registry lists the referrers of *subject*, with *digest* among them."""
    try:
        return any(one.digest == digest for one in _by_api(repository, subject, ""))
    except (_NoApiError, ArstoreError):
        return False


def forget_referrer(repository: Repository, subject: Digest, digest: Digest) -> None:
    """Remove a deleted manifest from the fallback index of its *subject*, if there is one."""
    if _fallback(repository, subject) is not None:
        _rewrite(repository, subject, lambda entries: [one for one in entries if one.digest != digest])


def _rewrite(repository: Repository, subject: Digest, change: Change) -> None:
    """Change the fallback index of *subject*, and check that the change was kept."""
    tag = fallback_tag(subject)
    for _ in range(_TRIES):
        index = _fallback(repository, subject)
        before = [] if index is None else list(index.manifests)
        after = change(before)
        if index is not None and _same(before, after):
            return
        if not after:
            try:
                delete_tag(repository, tag)
            except ArstoreError:
                _put_index(repository, tag, after)
            return
        _put_index(repository, tag, after)
        found = _fallback(repository, subject)
        if found is not None and _same(change(list(found.manifests)), found.manifests):
            return
    raise RegistryAnswerError(f"{repository.what}:{tag}", "is changed by other clients all the time")


def _put_index(repository: Repository, tag: str, entries: Iterable[Descriptor]) -> None:
    listed = [one.to_json() for one in entries]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}
    try:
        put_manifest(repository, tag, OCI_INDEX, encode(document))
    except LacksPartsError as lack:
        raise lack.error from lack


def _same(one: Sequence[Descriptor], other: Sequence[Descriptor]) -> bool:
    return sorted(entry.digest for entry in one) == sorted(entry.digest for entry in other)
