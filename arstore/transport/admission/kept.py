"""Verdicts that the store keeps, and the check before an image of the store is used.

Two hints (`graph.hints`) of an image:

    hints/origins/<digest>                  the name by which it was judged on import, and the indexes it came from
    hints/verdicts/<digest>/<fingerprint>   it was accepted under the policy and key files with this fingerprint

If the policy or a key file has changed, an image is judged again, by the signatures in the store. If the first hint is
missing, or if the policy has a scope of the transport `store` for the image, it is judged by its name in the store.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.disk.access import Access
from arstore.errors import ArstoreError, InvalidReferenceError, MissingBlobError, NotFoundError
from arstore.graph.hints import hint, put_hint
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from arstore.store.store import Store, StoredImage
    from arstore.transport.admission.gate import Admitted
    from arstore.trust.policy.evaluate import Signed
    from arstore.trust.policy.subject import Subject
    from arstore.trust.policy.verdict import Verdict
    from arstore.trust.rules import Rules
    from arstore.trust.signature import Signature

ORIGINS, VERDICTS = "origins", "verdicts"
"""Tables of hints."""


class Origin(NamedTuple):
    """The name by which an image was judged, and the digests of the indexes it came from, the nearest first."""

    subject: Subject
    within: tuple[Digest, ...] = ()


def hints_of(
    rules: Rules, admitted: Mapping[Digest, Admitted], decrypted: Mapping[Digest, Digest]
) -> dict[tuple[str, str, str], str]:
    """The hints of images that were accepted: texts by table, digest and detail. Raises PolicyError.

    An image that was *decrypted* has another digest in the store, and keeps the verdict on the encrypted image.
    """
    found: dict[tuple[str, str, str], str] = {}
    if admitted:
        fingerprint = rules.fingerprint()
        for digest, one in admitted.items():
            stored = decrypted.get(digest, digest)
            found[ORIGINS, stored, ""] = _text(Origin(one.subject, one.within))
            found[VERDICTS, stored, fingerprint] = "accepted"
    return found


def require_admitted(store: Store, image: StoredImage, rules: Rules) -> None:
    """Return if the policy accepts *image* of *store*. A new verdict is kept if the store is writable.

    Raises RejectedError, PolicyError, and the errors of Graph.
    """
    if rules.is_open:
        return
    fingerprint = rules.fingerprint()
    with store.graph.read() as snapshot:
        if hint(snapshot, VERDICTS, image.digest, fingerprint):
            return
    verdict = verdict_on(store, image, rules)
    verdict.require(image.label)
    if store.graph.access is not Access.FROZEN:
        # If it cannot be written, the image is judged again next time.
        with suppress(ArstoreError, OSError), store.graph.write() as change:
            if change.image(image.digest) is not None:
                put_hint(change, VERDICTS, image.digest, "accepted", fingerprint)


def verdict_on(store: Store, image: StoredImage, rules: Rules) -> Verdict:
    """Judge *image* by the signatures that *store* has. Raises PolicyError, and the errors of Graph."""
    from arstore.trust.policy.evaluate import judge

    origin = _origin(store, image, rules)
    within = []
    for digest in origin.within:
        with suppress(NotFoundError, MissingBlobError):
            within.append(_signed(store, store.find(digest)))
    content = _signed(store, image)
    # Verifying forks, and the child must not inherit the open graph.
    store.graph.release()
    return judge(
        rules.policy,
        origin.subject,
        content,
        within,
        require_signatures=rules.require_signatures,
        material=rules.material,
    )


def _signed(store: Store, image: StoredImage) -> Signed:
    from arstore.trust.policy.evaluate import Signed

    def signatures() -> Sequence[Signature]:
        from arstore.transport.admission.signatures import of_store

        try:
            return of_store(store, image.digest)
        finally:
            store.graph.release()

    return Signed(image.record.media_type, store.read_blob(image.digest), signatures)


def _origin(store: Store, image: StoredImage, rules: Rules) -> Origin:
    """The name to judge *image* by: its name in the store if the policy has a scope for it, else the imported one."""
    from arstore.trust.policy import scope

    try:
        here = scope.store_subject(image.called, image.digest)
    except InvalidReferenceError:
        here = scope.store_subject("", image.digest)
    policy = rules.policy
    if policy is None or scope.find(policy, here).section == "default":
        with store.graph.read() as snapshot:
            text = hint(snapshot, ORIGINS, image.digest)
        kept = _parsed(text) if text else None
        if kept is not None:
            return kept
    return Origin(here)


def _text(origin: Origin) -> str:
    subject = origin.subject
    return json.dumps(
        {
            "transport": subject.transport,
            "scope": subject.scope,
            "namespaces": list(subject.namespaces),
            "reference": None if subject.reference is None else str(subject.reference),
            "within": list(origin.within),
        },
        separators=(",", ":"),
    )


def _parsed(text: str) -> Origin | None:
    """Parse a text that `_text` has written; None for anything else."""
    from arstore.oci.docker_reference import DockerReference
    from arstore.trust.policy.subject import Subject

    try:
        found = json.loads(text)
        reference = None if found["reference"] is None else DockerReference.parse(found["reference"], "")
        subject = Subject(found["transport"], found["scope"], tuple(found["namespaces"]), reference)
        return Origin(subject, tuple(Digest(one) for one in found["within"]))
    except (ValueError, KeyError, TypeError, ArstoreError):
        return None
