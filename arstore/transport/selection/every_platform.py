"""Take all images of the entries with one name; the name then means an index of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.oci.descriptor import Descriptor, Flawed
from arstore.oci.index import Index
from arstore.oci.media_type import OCI_INDEX
from arstore.store.ingest.incoming import IncomingIndex
from arstore.transport.selection.groups import ambiguous, uncertain

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from arstore.digest import Digest
    from arstore.oci.platform import Platform
    from arstore.transport.selection.candidates import Candidates
    from arstore.transport.selection.passed_over import PassedOver
    from arstore.transport.selection.taking import Absent, Taking
    from arstore.transport.source import SourceImage
    from arstore.transport.work import Work


class EveryPlatform:
    """Takes images from the source *what* through *taking*; *passed* records entries that cannot be taken."""

    def __init__(self, what: str, candidates: Candidates, taking: Taking, passed: PassedOver, work: Work) -> None:
        self._what = what
        self._candidates = candidates
        self._taking = taking
        self._passed = passed
        self._work = work
        self._members: dict[Digest, dict[Platform, Digest]] = {}

    def take(self, group: Sequence[SourceImage], names: Sequence[str]) -> None:
        """Take all images of the entries with these names, which then mean an index of the images.

        If one entry lists all the others, it is that index. Otherwise an index is made here, always the same for the
        same entries. Raises AmbiguousError, ManifestError, and the errors of `Taking`.
        """
        absent: Absent = []
        tops: dict[Digest, Descriptor] = {}
        for image in group:
            entry = image.descriptor
            if len(group) == 1 and isinstance(entry, Descriptor) and not self._candidates.is_list(entry):
                self._taking.image(entry, names)
                return
            before = len(absent)
            if isinstance(entry, Flawed):
                self._passed.set_aside(image, entry)
            elif self._take_top(entry, absent):
                tops.setdefault(entry.digest, entry)
            elif len(absent) == before:
                for flawed in self._flawed_below(entry)[:1]:
                    self._passed.set_aside(image, flawed)
        self._taking.report_absent(absent, bool(tops))
        self._refuse_uncertain(group, names, tops)
        self._refuse_rivals(names, tops.values())
        outer = self._outer(tops)
        if outer is not None and outer not in self._taking.selection.indexes:
            self._taking.image(tops[outer], names)
        elif outer is not None:
            self._taking.name(outer, names)
        elif tops:
            self._make_index(list(tops.values()), names)

    def _outer(self, tops: Collection[Digest]) -> Digest | None:
        """The first of *tops* that lists all others; None if none does."""
        for top in tops:
            index = self._taking.selection.indexes.get(top)
            listed = () if index is None else index.manifests
            # An index that lists fewer entries need not be examined: a name may have thousands.
            if len(tops) - 1 <= len(listed) and set(tops) <= {top, *listed}:
                return top
        return None

    def _take_top(self, entry: Descriptor, absent: Absent) -> bool:
        found = self._taking.look(entry, absent)
        if found is None:
            return False
        descriptor = found.descriptor
        return self._taking.index(descriptor) if found.is_index else self._taking.member(descriptor, absent)

    def _make_index(self, tops: Sequence[Descriptor], names: Sequence[str]) -> None:
        selection = self._taking.selection
        listed = []
        for top in tops:
            index = selection.indexes.get(top.digest)
            media_type = selection.images[top.digest].media_type if index is None else index.media_type
            platform = self._candidates.platform(top) if index is None else None
            listed.append(Descriptor(media_type, top.digest, top.size, platform=platform))
        raw = Index.build(listed)
        digest = Index.parse(raw).digest
        self._taking.add_index(IncomingIndex(digest, OCI_INDEX, raw, tuple(top.digest for top in tops)), names)

    def _refuse_rivals(self, names: Sequence[str], tops: Iterable[Descriptor]) -> None:
        """Raise AmbiguousError if two entries with one name have different images for the same platform."""
        seen: dict[Platform, Digest] = {}
        for top in tops:
            for platform, digest in self._images_below(top).items():
                if seen.setdefault(platform, digest) != digest:
                    raise ambiguous(self._what, names[0], platform, [seen[platform], digest])

    def _refuse_uncertain(
        self, group: Iterable[SourceImage], names: Sequence[str], tops: Mapping[Digest, Descriptor]
    ) -> None:
        """Raise ManifestError if a malformed entry may be for a platform for which its name has an image."""
        aside = [image.descriptor for image in group if self._passed.is_aside(image)] if tops else []
        taken = {platform for top in tops.values() if aside for platform in self._images_below(top)}
        for entry in aside:
            for flawed in self._flawed_below(entry):
                platform = flawed.platform
                is_other = platform is not None and platform.is_known and platform.normalised() not in taken
                if flawed.digest not in tops and not is_other:
                    raise uncertain(flawed, names[0])

    def _flawed_below(self, entry: Descriptor | Flawed) -> list[Flawed]:
        return [one.entry for one in self._candidates.below(entry) if isinstance(one.entry, Flawed)]

    def _images_below(self, top: Descriptor) -> dict[Platform, Digest]:
        """The images taken below a top entry by platform; the first one for each."""
        known = self._members.get(top.digest)
        if known is None:
            known = self._members[top.digest] = {}
            for one in self._candidates.below(top):
                if isinstance(one.entry, Descriptor) and one.entry.digest in self._taking.selection.images:
                    platform = self._candidates.platform(one.entry)
                    if platform is not None:
                        known.setdefault(platform.normalised(), one.entry.digest)
        self._work.visit(len(known))
        return known
