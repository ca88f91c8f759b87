"""Decide whether an image may be used, from the policy, the bytes of its manifest and its signatures.

Source: containers-policy.json(5), and policy_eval*.go of containers/image. One list of requirements applies, and each
must be satisfied. For a requirement of signatures, one valid signature is enough, and invalid ones do no harm. A
signature is valid if its cryptography is, if it is for the digest of exactly the bytes that are judged, and if its name
fits. Anything that cannot be read or verified does not count.

The manifest of one image is judged. If it comes from an index, a signature on the index counts as well, because it
signs the index's digest, and so all digests that the index lists. containers/image accepts only signatures of the
manifest itself (docs/design/decisions/0061).

The caller asks before it trusts the config or any layer, and passes every document between the name that the user gave
and the manifest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.errors import ArstoreError, SignatureError
from arstore.oci.document import parse
from arstore.oci.index import Index
from arstore.oci.media_type import document_type
from arstore.trust.policy import scope
from arstore.trust.policy.checking import Checker, kind_of
from arstore.trust.policy.identity import mismatch
from arstore.trust.policy.material import Material
from arstore.trust.policy.model import (
    ACCEPT,
    GPG_KEYS,
    SignedBaseLayer,
    SignedBy,
    SigstoreSigned,
    Unconditional,
    type_of,
)
from arstore.trust.policy.verdict import Attempt, Outcome, Verdict
from arstore.trust.policy.wording import described
from arstore.trust.signature import MOST
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from arstore.trust.policy.model import Policy, Requirement
    from arstore.trust.policy.subject import Subject
    from arstore.trust.signature import Signature

NO_POLICY = "there is no policy, so every image is accepted"
"""The reason if there is no policy; a command that works without one reports this once."""
_MOST_REASONS = 3


class Signed(NamedTuple):
    """A manifest or an index: its bytes, the media type in its descriptor, and a function that gets its signatures.

    `signatures` is called at most once, and only if a requirement needs signatures.
    """

    media_type: str | None
    content: bytes
    signatures: Callable[[], Sequence[Signature]]


def judge(
    policy: Policy | None,
    subject: Subject,
    image: Signed,
    within: Sequence[Signed] = (),
    *,
    require_signatures: bool = False,
    material: Material | None = None,
) -> Verdict:
    """Decide about *image*, which the user calls *subject*, and which is listed by the indexes *within*, nearest first.

    Without a policy, everything is accepted. With *require_signatures*, a list that does not require a signature is not
    enough. *material* caches key files for further calls.

    Raises ManifestError and LimitError for documents that are not as announced, and the errors of `Signed.signatures`
    except SignatureError. An image is never accepted when an error is raised.
    """
    if policy is None:
        reason = "signatures are required, but there is no policy that names keys" if require_signatures else NO_POLICY
        return Verdict(not require_signatures, str(subject), "", "", "", reason)
    found = scope.find(policy, subject)
    evidence = _Evidence(subject, image, within, material or Material())
    outcomes = tuple(
        Outcome(number, described(one), not result.reason, result.reason, result.attempts)
        for number, one in enumerate(found.requirements, 1)
        for result in (evidence.against(one),)
    )
    reason = _failure(outcomes)
    if not reason and require_signatures and not any(_is_signed(one) for one in found.requirements):
        reason = "signatures are required, but the policy does not ask for any"
    accepted = not reason
    reason = reason or "; ".join(dict.fromkeys(type_of(one) for one in found.requirements))
    return Verdict(
        accepted, str(subject), policy.what, found.section, found.scope, f"{found.section}: {reason}", outcomes
    )


def _is_signed(requirement: Requirement) -> bool:
    return isinstance(requirement, SignedBy | SigstoreSigned)


def _failure(outcomes: Sequence[Outcome]) -> str:
    """The reason of the first of *outcomes* that is not satisfied; "" if all are."""
    if not outcomes:
        return "the list of requirements is empty"
    for outcome in outcomes:
        if not outcome.accepted:
            return f"requirement {outcome.number}, {outcome.requirement}: {outcome.reason}"
    return ""


class _Result(NamedTuple):
    """The reason why a requirement is not satisfied ("" if it is), and the signatures that were checked for it."""

    reason: str
    attempts: tuple[Attempt, ...] = ()


class _Document:
    """A manifest or an index with its signatures. Each of its digests is computed once."""

    def __init__(self, signed: Signed) -> None:
        self.content = signed.content
        self.media_type = signed.media_type
        self._digests: dict[str, Digest] = {}
        self._get = signed.signatures
        self._signatures: Sequence[Signature] | None = None

    def digest(self, algorithm: str = "sha256") -> Digest:
        """The digest of the content."""
        known = self._digests.get(algorithm)
        if known is None:
            known = self._digests[algorithm] = Digest.of(self.content, algorithm)
        return known

    def has_digest(self, digest: Digest) -> bool:
        """Whether *digest* is a digest of the content."""
        return self.digest(digest.algorithm) == digest

    def signatures(self) -> Sequence[Signature]:
        """Its signatures. Raises SignatureError for too many, and the errors of getting them."""
        if self._signatures is None:
            found = self._get()
            if len(found) > MOST:
                raise SignatureError("signatures", f"there are {len(found)}, but at most {MOST} are allowed")
            self._signatures = found
        return self._signatures


class _Evidence:
    """Everything that is known about one image, loaded on demand."""

    def __init__(self, subject: Subject, image: Signed, within: Sequence[Signed], material: Material) -> None:
        self._subject = subject
        self._image = _Document(image)
        self._within = [_Document(one) for one in within]
        self._material = material
        self._linked: list[_Document] = []

    def against(self, requirement: Requirement) -> _Result:
        """Whether *requirement* is satisfied. Raises the errors of `judge`."""
        if isinstance(requirement, Unconditional):
            return _Result("" if requirement == ACCEPT else "every image is rejected")
        if isinstance(requirement, SignedBaseLayer):
            return _Result("no tool can check this")
        if isinstance(requirement, SignedBy) and requirement.key_type != GPG_KEYS:
            return _Result(f"no tool supports keys of the type {requirement.key_type}")
        attempts: list[Attempt] = []
        try:
            with Checker(requirement, self._material) as checker:
                for document, signature in self._candidates():
                    unfit = checker.unfit(signature)
                    reason = unfit or self._fault(checker, signature, document)
                    attempts.append(Attempt(kind_of(signature), document.digest(), reason, not unfit))
                    if not reason:
                        return _Result("", tuple(attempts))
        except SignatureError as error:
            return _Result(_line(error), tuple(attempts))
        return _Result(_summary(attempts), tuple(attempts))

    def _candidates(self) -> Iterator[tuple[_Document, Signature]]:
        """Every signature with the document that it is on. Raises SignatureError, ManifestError, LimitError."""
        for document in self._documents():
            for signature in document.signatures():
                yield document, signature

    def _fault(self, checker: Checker, signature: Signature, document: _Document) -> str:
        """The reason why *signature* of *document*, of a kind that fits, is not accepted; "" if it is."""
        try:
            claim = checker.claim(signature)
        except ArstoreError as error:
            return _line(error)
        if not any(map(document.has_digest, claim.digests)):
            return f"the signature is for {', '.join(claim.digests[:1])}, not for {document.digest()}"
        return mismatch(checker.requirement.identity, self._subject.reference, claim.reference)

    def _documents(self) -> list[_Document]:
        """The image, and the indexes that lead to it; each lists the one before it.

        An index that does not list the image says nothing about it, nor does an index around that. Raises
        SignatureError for an image without the digest that the user gave, ManifestError and LimitError.
        """
        if self._linked:
            return self._linked
        image = self._image
        document_type(parse(image.content, "manifest"), image.media_type, "manifest")
        documents = [image]
        for outer in self._within:
            index = Index.parse(outer.content, "index", outer.media_type)
            inner = documents[-1]
            if not any(inner.has_digest(one.digest) for one in index.manifests):
                break
            documents.append(outer)
        reference = self._subject.reference
        wanted = None if reference is None else reference.digest
        if wanted is not None and not any(one.has_digest(wanted) for one in documents):
            raise SignatureError("manifest", f"it does not have the requested digest {wanted}")
        self._linked = documents
        return documents


def _line(error: ArstoreError) -> str:
    return f"{error.what}: {error.why}" if error.what else error.why


def _summary(attempts: Sequence[Attempt]) -> str:
    """The reason why none of the signatures is accepted, in one line."""
    if not attempts:
        return "a signature is required, but there is none"
    # Signatures of another kind are reported only if there is no better reason.
    told = [attempt for attempt in attempts if attempt.fits] or attempts
    reasons = list(dict.fromkeys(attempt.reason for attempt in told))
    if len(told) == 1:
        return reasons[0]
    more = f"; and {len(reasons) - _MOST_REASONS} more" if len(reasons) > _MOST_REASONS else ""
    return f"none of {len(told)} signatures is valid: {'; '.join(reasons[:_MOST_REASONS])}{more}"
