"""Find the image for a platform among several: among the entries of an index, or the top entries with one name.

Nested indexes are followed, each once. The platform comes from the descriptor, or else from the image's config. Not in
scope: taking what was found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import ArstoreError, LimitError, ManifestError, MissingBlobError, RejectedError
from arstore.oci.descriptor import Descriptor, Flawed
from arstore.oci.media_type import is_index, is_manifest, may_be_image
from arstore.oci.platform import Platform, select
from arstore.tar.limits import raising
from arstore.transport.media.bounds import bounds_of
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from arstore.digest import Digest
    from arstore.tar.limits import Limits
    from arstore.transport.documents import Documents


class Candidate(NamedTuple):
    """A manifest that may be wanted; `platform` is None while it is not known."""

    entry: Descriptor | Flawed
    platform: Platform | None


class Candidates:
    """Finds the candidate for one platform below an entry; results are cached."""

    def __init__(self, documents: Documents, limits: Limits) -> None:
        self._documents = documents
        self._limits = limits
        self._bounds = bounds_of(limits)
        self._below: dict[Digest, list[Candidate]] = {}
        self._best: dict[tuple[Digest, Platform], Candidate | None] = {}
        self._offers: dict[Digest, list[str]] = {}
        self._platforms: dict[str, Platform] = {}
        self._artifacts: set[str] = set()

    def below(self, entry: Descriptor | Flawed) -> list[Candidate]:
        """The manifests that *entry* means: itself, or those below it if it is an index.

        Every call counts as visiting all of them. Raises the errors of `Documents`, and LimitError.
        """
        if isinstance(entry, Flawed) or not self.is_list(entry):
            return [Candidate(entry, entry.platform)]
        known = self._below.get(entry.digest)
        if known is None:
            known = self._below[entry.digest] = self._leaves(entry, 1, {entry.digest})
        self._documents.work.visit(len(known))
        return known

    def best(self, entry: Descriptor | Flawed, wanted: Platform) -> Candidate | None:
        """The manifest below *entry* that suits *wanted* best, with its platform; None if none does.

        A manifest whose descriptor gives the platform must be there and valid. Of the others, whose configs have to be
        read, unreadable ones are skipped as long as another one suits. A `Flawed` entry is returned if nothing else
        suits, or if it claims to suit: it may be the wanted one. Raises the errors of `Documents`.
        """
        if isinstance(entry, Flawed) or not self.is_list(entry):
            return self._best_of(entry, wanted)
        # For an index, only its own content counts, so the digest identifies it.
        key = (entry.digest, wanted)
        if key not in self._best:
            self._best[key] = self._best_of(entry, wanted)
        return self._best[key]

    def _best_of(self, entry: Descriptor | Flawed, wanted: Platform) -> Candidate | None:
        candidates = self.below(entry)
        trouble: ArstoreError | None = None
        flawed: Candidate | None = None
        for position in select([one.platform for one in candidates], wanted):
            one = candidates[position]
            if isinstance(one.entry, Flawed):
                if one.platform is not None and one.platform.is_known:
                    return one
                flawed = flawed or one
                continue
            if one.platform is not None and one.platform.is_known:
                if not self._documents.nature(one.entry).artifact:
                    return one
                self._artifacts.add(one.entry.digest)
                continue
            try:
                platform = self._asked(one.entry)
            except (MissingBlobError, ManifestError, RejectedError) as error:
                trouble = trouble or error
                continue
            if platform is not None and select([platform], wanted):
                return Candidate(one.entry, platform)
        if trouble is not None:
            raise trouble
        return flawed

    def platform(self, entry: Descriptor | Flawed) -> Platform | None:
        """The platform of a manifest from its descriptor or its config. Raises the errors of `Documents`."""
        said = entry.platform
        return said if said is not None and said.is_known else self._asked(entry)

    def offers(self, entry: Descriptor | Flawed) -> list[str]:
        """The platforms of the manifests below *entry*, for messages, as far as known without reading more."""
        try:
            if isinstance(entry, Flawed) or not self.is_list(entry):
                return _texts([self._known(Candidate(entry, entry.platform))])
            offers = self._offers.get(entry.digest)
            if offers is None:
                offers = self._offers[entry.digest] = _texts(map(self._known, self.below(entry)))
        except ArstoreError:
            return _texts([entry.platform])
        return offers

    def is_list(self, entry: Descriptor | Flawed) -> bool:
        """Whether *entry* is an index; False for a malformed one. Raises the errors of `Documents`."""
        if isinstance(entry, Flawed) or is_manifest(entry.media_type):
            return False
        return self._documents.nature(entry).is_index

    def _leaves(self, index: Descriptor, depth: int, visited: set[Digest]) -> list[Candidate]:
        what = f"index {index.digest}"
        if depth > self._bounds.index_depth:
            most = self._bounds.index_depth
            raise self._bounds.passed("index-depth", what, f"is nested more than {most} indexes deep")
        found: list[Candidate] = []
        for entry in self._documents.index(index).entries:
            self._documents.work.visit()
            if not may_be_image(entry.media_type) or self._documents.is_foreign(entry):
                continue
            if isinstance(entry, Descriptor) and self._is_index(entry):
                if entry.digest not in visited:
                    visited.add(entry.digest)
                    found.extend(self._leaves(entry, depth + 1, visited))
            else:
                found.append(Candidate(entry, entry.platform))
            if len(found) > self._limits.images:
                raise LimitError(what, f"lists more than {self._limits.images} manifests", raising("images"))
        return found

    def _is_index(self, entry: Descriptor) -> bool:
        """By the media type, or if there is none, by the document. A missing index has nothing below it."""
        if entry.media_type and not is_index(entry.media_type):
            return False
        try:
            return self._documents.nature(entry).is_index
        except MissingBlobError:
            return False

    def _asked(self, entry: Descriptor | Flawed) -> Platform | None:
        """The platform in an image's config; None for an artifact."""
        nature = self._documents.nature(entry)
        if isinstance(entry, Flawed) or nature.artifact or nature.is_index or _is_denied(entry.platform):
            return None
        self._documents.admit(entry)
        platform = self._documents.config_facts(self._documents.manifest(entry).config).platform
        self._platforms[entry.digest] = platform
        return platform

    def _known(self, one: Candidate) -> Platform | None:
        if one.entry.digest in self._artifacts:
            return None
        if one.platform is not None and one.platform.is_known:
            return one.platform
        return self._platforms.get(one.entry.digest)


def _texts(platforms: Iterable[Platform | None]) -> list[str]:
    return sorted({str(platform) for platform in platforms if platform is not None and platform.is_known})


def _is_denied(platform: Platform | None) -> bool:
    return platform is not None and platform.is_denied
