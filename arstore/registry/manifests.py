"""Requests for manifests and indexes: check, get, put and delete them (distribution-spec, "Pulling manifests" ff.).

A document that was fetched is verified as far as it was announced: against the digest in the reference, or against the
digest in the registry's answer. Its meaning is left to the caller, but if its type is announced twice, both must agree.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from arstore.digest import Digest, is_digest, verify
from arstore.errors import (
    LimitError,
    ManifestError,
    RegistryAnswerError,
    RegistryNotFoundError,
    RegistryUnreachableError,
)
from arstore.oci.document import BOUNDS, Bounds, shown
from arstore.oci.media_type import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    DOCKER_SCHEMA1,
    DOCKER_SCHEMA1_SIGNED,
    OCI_INDEX,
    OCI_MANIFEST,
    may_be_image,
)
from arstore.registry.failure import Refusal, error_for, error_of, refusal_of
from arstore.registry.http.connection import NetworkFaultError
from arstore.registry.http.patience import Budget
from arstore.registry.repository import DELETE, PULL, PUSH
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from arstore.registry.http.exchange import Answer
    from arstore.registry.repository import Repository

ACCEPT = ", ".join((OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST))
"""Media types that arstore reads. Without this header, a registry may answer that a manifest does not exist."""
_OLD = f"{DOCKER_SCHEMA1_SIGNED};q=0.1, {DOCKER_SCHEMA1};q=0.1"
"""Requested only to be refused with a message that names them."""


class GotManifest(NamedTuple):
    """A document as a registry gave it; `media_type` is from the document or the answer, "" if neither has one."""

    digest: Digest
    media_type: str
    raw: bytes


class ManifestHead(NamedTuple):
    """The headers that a registry gives for a manifest without its content."""

    digest: Digest
    media_type: str
    size: int


class LacksPartsError(Exception):
    """A registry refused the manifest *what*, because it does not have everything that the manifest points to."""

    def __init__(self, what: str, refusal: Refusal) -> None:
        super().__init__(what, refusal)
        self.refusal = refusal
        self.error = RegistryAnswerError(what, f"the registry fails to take the manifest: {refusal}")


def reference_text(reference: str) -> str:
    """A tag or a digest with its separator, as it follows a repository's name."""
    return f"@{reference}" if is_digest(reference) else f":{reference}"


def get_manifest(repository: Repository, reference: str, bounds: Bounds = BOUNDS) -> GotManifest:
    """Get the manifest of *reference*, a tag or a digest.

    Raises RegistryNotFoundError, RegistryAccessError, RegistryAnswerError, RegistryUnreachableError, LimitError,
    ManifestError for contradicting media types, DigestMismatchError.
    """
    what = repository.what + reference_text(reference)
    ask = repository.ask("GET", "manifests", reference)._replace(headers={"Accept": f"{ACCEPT}, {_OLD}"})
    budget = Budget(repository.client.patience, what)
    while True:
        answer = repository.client.send(ask, what, "to give the manifest", (200,))
        try:
            raw = _read(answer, what, bounds)
        except NetworkFaultError as fault:
            if not fault.again:
                raise RegistryUnreachableError(what, fault.why) from fault
            budget.failed(fault.why)
            continue
        finally:
            answer.close()
        return GotManifest(_digest_of(answer, reference, raw, what), _type_of(answer, raw, what), raw)


def head_manifest(repository: Repository, reference: str, actions: str = PULL) -> ManifestHead | None:
    """Ask about the manifest of *reference* without fetching it; None if it does not exist.

    If the registry does not answer HEAD correctly, GET is used. Raises RegistryError, LimitError, ManifestError,
    DigestMismatchError.
    """
    what = repository.what + reference_text(reference)
    ask = repository.ask("HEAD", "manifests", reference, actions)._replace(headers={"Accept": ACCEPT})
    answer = repository.client.try_send(ask, what, "to say whether it has the manifest")
    answer.close()
    said = answer.header("Docker-Content-Digest") or (reference if is_digest(reference) else "")
    media_type = content_type(answer)
    if answer.status == 200 and answer.length is not None and is_digest(said) and media_type:
        return ManifestHead(Digest(said), media_type, answer.length)
    if answer.status in {401, 403}:
        raise error_of(answer, what, "to say whether it has the manifest")
    try:
        got = get_manifest(repository, reference)
    except RegistryNotFoundError:
        return None
    return ManifestHead(got.digest, got.media_type, len(got.raw))


def put_manifest(repository: Repository, reference: str, media_type: str, raw: bytes) -> Answer:
    """Put *raw* under *reference*, a tag or its digest; return the answer, closed, for its headers.

    Raises RegistryAccessError, RegistryAnswerError, RegistryUnreachableError, LimitError if the manifest is too large,
    LacksPartsError.
    """
    what = repository.what + reference_text(reference)
    ask = repository.ask("PUT", "manifests", reference, PUSH)
    ask = ask._replace(headers={"Content-Type": media_type}, body=raw, head=300.0)
    answer = repository.client.try_send(ask, what, "to take the manifest")
    if answer.status == 413:
        refusal_of(answer)
        raise LimitError(what, f"the registry refuses a manifest of {len(raw)} bytes")
    if answer.status != 201:
        # A 200 may be the page of a server that is not a registry.
        refusal = refusal_of(answer)
        if refusal.lacks_parts:
            raise LacksPartsError(what, refusal)
        raise error_for(refusal, what, "to take the manifest")
    said = answer.header("Docker-Content-Digest")
    answer.discard()
    if is_digest(said) and Digest.of(raw, Digest(said).algorithm) != said:
        raise RegistryAnswerError(what, f"the registry took a manifest of another digest, {said}")
    return answer


def delete_manifest(repository: Repository, digest: Digest) -> None:
    """Delete the manifest, and every tag that points to it.

    Raises RegistryNotFoundError, RegistryAccessError, RegistryAnswerError (also if deletion is turned off).
    """
    _delete(repository, digest)


def delete_tag(repository: Repository, tag: str) -> None:
    """Delete only the tag; not every registry supports this.

    Raises RegistryNotFoundError, RegistryAccessError, RegistryAnswerError.
    """
    _delete(repository, tag)


def _delete(repository: Repository, reference: str) -> None:
    what = repository.what + reference_text(reference)
    ask = repository.ask("DELETE", "manifests", reference, DELETE)
    answer = repository.client.try_send(ask, what, "to delete it")
    if answer.status in {400, 405}:
        refusal = refusal_of(answer)
        hint = "deletion may be turned off there (docker-registry: storage.delete.enabled)"
        raise RegistryAnswerError(what, f"the registry does not delete it: {refusal}", hint)
    if answer.status not in {200, 202, 204}:
        raise error_of(answer, what, "to delete it")
    answer.discard()


def content_type(answer: Answer) -> str:
    """The media type that *answer* announces, without parameters; "" if it is missing or not specific."""
    announced = answer.header("Content-Type").partition(";")[0].strip()
    return announced if announced.lower().startswith("application/vnd.") else ""


def _read(answer: Answer, what: str, bounds: Bounds) -> bytes:
    if answer.header("Content-Encoding").lower() not in {"", "identity"}:
        raise RegistryAnswerError(what, "the registry gives a manifest with a Content-Encoding")
    if answer.length is not None and answer.length > bounds.document:
        why = f"has {answer.length} bytes; a document may have at most {bounds.document}"
        raise bounds.passed("document", what, why)
    raw = answer.read_all(bounds.document)
    if len(raw) > bounds.document:
        raise bounds.passed("document", what, f"has more than {bounds.document} bytes")
    return raw


def _digest_of(answer: Answer, reference: str, raw: bytes, what: str) -> Digest:
    said = answer.header("Docker-Content-Digest").strip()
    if is_digest(reference):
        verify(raw, Digest(reference), what=what)
        return Digest(reference)
    if is_digest(said):
        verify(raw, Digest(said), what=what)
        return Digest(said)
    return Digest.of(raw)


def _type_of(answer: Answer, raw: bytes, what: str) -> str:
    announced = content_type(answer)
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ManifestError(what, f"the registry did not send a manifest, but {_kind(answer)}")
    own = document.get("mediaType")
    if isinstance(own, str) and own and announced and own != announced and may_be_image(announced):
        why = f"says that it is {shown(own, 80)}, but the registry says that it is {shown(announced, 80)}"
        raise ManifestError(what, why)
    return own if isinstance(own, str) and own else announced


def _kind(answer: Answer) -> str:
    return shown(answer.header("Content-Type"), 80) or "something without a type"
