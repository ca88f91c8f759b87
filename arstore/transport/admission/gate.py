"""The gate: the policy judges each image of a source after its manifest is verified and before its config is read.

An index is read without being judged: it only says which image is for which platform. An image from an index is
accepted by its own signatures, or by those of the indexes that lead to it, which name its digest. Every image is judged
once, however many names it has.
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
"""Transports whose manifests are made while they are read, so that a signature cannot be for them."""
_MOST_ATTEMPTS = 1024
"""Signatures of one source that may fail verification. gpg takes 0.07 s for each."""
_MOST_CHAINS = 8
"""Paths from the top of a source to one image that are tried at most."""


class Admitted(NamedTuple):
    """An accepted image: the name it was judged by, the indexes it came from, and the attachments that signed it."""

    subject: Subject
    within: tuple[Digest, ...]
    carriers: tuple[tuple[Digest, Attached], ...]


class Gate:
    """Judges the images of one *source*.

    *place* is the path that scopes of file transports are compared with, "" if a scope cannot name the source.
    *release* is called before a process is forked to verify. A gate that *explains* does not refuse anything, and
    judges even if every image is accepted.
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
        """The images that a policy accepted, by digest; empty if every image is accepted."""

    def open(self) -> None:
        """Refuse a source that needs signatures but cannot have any, before anything in it is read.

        Raises PolicyError, RejectedError.
        """
        if self._explains:
            return
        if self._source.transport in UNSIGNED:
            self._rules.refuse_unsigned(self._source.transport, self._source.what)
        elif not self._rules.is_open:
            # Read the policy now, so that an error in it is reported before an error in the source.
            assert self._rules.policy is not None or self._rules.require_signatures

    def listed(self, index: Descriptor, entries: Sequence[Descriptor | Flawed]) -> None:
        """Take note of the documents that an index lists; the index was read and verified."""
        if self._is_asked and index.digest not in self._indexes:
            self._indexes.add(index.digest)
            for entry in entries:
                if isinstance(entry, Descriptor):
                    self._parents.setdefault(entry.digest, {})[index.digest] = index

    def admit(self, entry: Descriptor, documents: Documents) -> None:
        """Accept the image of the verified manifest *entry*, or raise.

        Raises RejectedError, PolicyError, LimitError, and the errors of the source while it lists signatures.
        """
        if not self._is_asked:
            return
        verdict = self.verdicts.get(entry.digest)
        if verdict is None:
            verdict = self.verdicts[entry.digest] = self._decide(entry, documents)
        if not self._explains:
            verdict.require(f"{self._source.what}: {entry.digest}")

    def _decide(self, entry: Descriptor, documents: Documents) -> Verdict:
        """Judge each path to *entry* until one is accepted; if none is, return the first verdict.

        Raises the errors of `admit`.
        """
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
            why = f"has more than {_MOST_ATTEMPTS} invalid signatures"
            raise LimitError(self._source.what, why, "import its images one by one")
        return verdict

    def _chains(self, digest: Digest) -> Iterator[Sequence[Descriptor]]:
        """The paths from the document *digest* up, the nearest index first; one empty path if nothing lists it."""
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
    """The subject by which a policy knows the images of *source*. Raises OSError if *place* cannot be resolved."""
    from arstore.trust.policy import scope

    if source.transport == REGISTRY:
        return scope.registry_subject(source.reference)  # type: ignore[attr-defined] # of a RegistrySource
    if source.transport in scope.PATHS and place:
        return scope.path_subject(source.transport, place)
    return scope.unnamed_subject(source.transport)


class _Signatures:
    """The signatures of a source's documents, read on demand, and the attachments that contained them."""

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
