"""The gate: what a source brings is judged by the policy when its manifest is verified, before its config is read.

An index is read without being judged: it only says which image is for which platform. An image that comes from it is
accepted by its own signatures, or by those of the indexes that lead to it, which name its digest. Every image is judged
once, whatever the number of its names.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from arstore.errors import LimitError
from arstore.oci.descriptor import Descriptor
from arstore.transport.location import REGISTRY
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from arstore.digest import Digest
    from arstore.oci.descriptor import Flawed
    from arstore.transport.documents import Documents
    from arstore.transport.source import Attached, ImageSource
    from arstore.trust.policy.subject import Subject
    from arstore.trust.policy.verdict import Verdict
    from arstore.trust.rules import Rules
    from arstore.trust.signature import Signature

UNSIGNED = ("docker-archive",)
"""Transports whose manifests are made while they are read, so that no signature can be for them."""
_MOST_ATTEMPTS = 1024
"""Signatures of one source that are verified without success. A gpg takes 0.07 s for one."""
_MOST_CHAINS = 8
"""Ways from the top of a source to one image that are tried."""


class Admitted(NamedTuple):
    """An image that was accepted: by what name it was judged, from which indexes, and which attachments signed it."""

    subject: Subject
    within: tuple[Digest, ...]
    carriers: tuple[tuple[Digest, Attached], ...]


class Gate:
    """Judges the images of one *source*.

    *place* is the path that scopes of file transports are compared with, "" where no scope can name the source.
    *release* is called before a process is forked that verifies. A gate that *explains* refuses nothing, and judges
    also where every image is accepted.
    """

    def __init__(
        self,
        rules: Rules,
        source: ImageSource,
        place: str = "",
        release: Callable[[], object] = lambda: None,
        *,
        explains: bool = False,
    ) -> None:
        self._explains = explains
        self.verdicts: dict[Digest, Verdict] = {}
        """Every verdict, by the digest of the image."""
        self._rules = rules
        self._source = source
        self._place = place
        self._release = release
        self._parents: dict[Digest, dict[Digest, Descriptor]] = {}
        self._indexes: set[Digest] = set()
        self._attempts = 0
        self.admitted: dict[Digest, Admitted] = {}
        """What was accepted by a policy, by digest; empty where everything is."""

    def open(self) -> None:
        """Refuse a source that cannot have signatures and needs them, before anything in it is looked at.

        Raises PolicyError, RejectedError.
        """
        if self._explains:
            return
        if self._source.transport in UNSIGNED:
            self._rules.refuse_unsigned(self._source.transport, self._source.what)
        elif not self._rules.is_open:
            # A policy that cannot be read is reported before a source that cannot.
            assert self._rules.policy is not None or self._rules.require_signatures

    def listed(self, index: Descriptor, entries: Sequence[Descriptor | Flawed]) -> None:
        """Hear which documents an index lists that was read and verified."""
        if self._is_asked and index.digest not in self._indexes:
            self._indexes.add(index.digest)
            for entry in entries:
                if isinstance(entry, Descriptor):
                    self._parents.setdefault(entry.digest, {})[index.digest] = index

    def admit(self, entry: Descriptor, documents: Documents) -> None:
        """Let the image of the verified manifest *entry* in.

        Raises RejectedError, PolicyError, LimitError, and the errors of the source when it is asked for signatures.
        """
        if not self._is_asked:
            return
        verdict = self.verdicts.get(entry.digest)
        if verdict is None:
            verdict = self.verdicts[entry.digest] = self._decide(entry, documents)
        if not self._explains:
            verdict.require(f"{self._source.what}: {entry.digest}")

    def _decide(self, entry: Descriptor, documents: Documents) -> Verdict:
        """Judge by each way to *entry* until one is accepted; the first verdict where none is. Raises as `admit`."""
        refused: list[Verdict] = []
        for chain in self._chains(entry.digest):
            found = _Signatures(self._source, documents)
            verdict = self._judge(entry, chain, documents, found)
            if verdict.accepted:
                within = tuple(one.digest for one in chain)
                self.admitted[entry.digest] = Admitted(self._subject, within, tuple(found.carriers))
                return verdict
            refused.append(verdict)
        return refused[0]

    @property
    def _is_asked(self) -> bool:
        """Whether images are judged one by one. Raises PolicyError."""
        return self._explains or not (self._rules.is_open or self._source.transport in UNSIGNED)

    def _judge(
        self, entry: Descriptor, chain: Sequence[Descriptor], documents: Documents, found: _Signatures
    ) -> Verdict:
        from arstore.trust.policy.evaluate import Signed, judge

        def signed(one: Descriptor) -> Signed:
            return Signed(one.media_type or None, documents.get(one), lambda: found.of(one.digest))

        self._release()
        verdict = judge(
            self._rules.policy,
            self._subject,
            signed(entry),
            [signed(one) for one in chain],
            require_signatures=self._rules.require_signatures,
            material=self._rules.material,
        )
        self._attempts += sum(not one.accepted for outcome in verdict.outcomes for one in outcome.attempts)
        if self._attempts > _MOST_ATTEMPTS:
            why = f"has more than {_MOST_ATTEMPTS} signatures that are not good"
            raise LimitError(self._source.what, why, "import its images one by one")
        return verdict

    def _chains(self, digest: Digest) -> Iterator[Sequence[Descriptor]]:
        """The ways up from the document *digest*, the nearest index first; a single empty one if nothing lists it."""
        todo: list[tuple[Digest, tuple[Descriptor, ...]]] = [(digest, ())]
        for _ in range(_MOST_CHAINS):
            if not todo:
                return
            at, chain = todo.pop(0)
            above = [one for one in self._parents.get(at, {}).values() if one not in chain]
            while above:
                todo += [(one.digest, (*chain, one)) for one in above[1:]]
                at, chain = above[0].digest, (*chain, above[0])
                above = [one for one in self._parents.get(at, {}).values() if one not in chain]
            yield chain

    @cached_property
    def _subject(self) -> Subject:
        return subject_of(self._source, self._place)


def subject_of(source: ImageSource, place: str) -> Subject:
    """What a policy calls the images of *source*. Raises OSError where *place* cannot be followed."""
    from arstore.trust.policy import scope

    if source.transport == REGISTRY:
        return scope.registry_subject(source.reference)  # type: ignore[attr-defined] # of a RegistrySource
    if source.transport in scope.PATHS and place:
        return scope.path_subject(source.transport, place)
    return scope.unnamed_subject(source.transport)


class _Signatures:
    """The signatures of documents of a source, read when they are asked for, and the attachments that they came in."""

    def __init__(self, source: ImageSource, documents: Documents) -> None:
        self._source = source
        self._documents = documents
        self.carriers: list[tuple[Digest, Attached]] = []

    def of(self, subject: Digest) -> Sequence[Signature]:
        """The signatures of the manifest *subject*. Raises the errors of the source."""
        from arstore.transport.admission.signatures import of_source

        found = of_source(self._source, self._documents, subject)
        self.carriers += [(subject, one) for one in found.carriers]
        return found
