"""From what a source lists to the images that are wanted: indexes are followed, platforms chosen, documents verified.

What comes out has been read and verified down to the config; only layers are still to come. OCI image-spec:
manifest.md, image-index.md, config.md.

* An entry that is no image is passed over and reported (`entries`). What decides that are types alone: an image in
  which anything is missing or wrong is an error, unless it is not needed.
* An entry that is malformed is passed over, too, and reported with its name, while an image is left. It is an error
  where it may be what a name means that another entry has as well.
* Several entries of one name are an index of that name: one image is taken for the platform that is wanted, or all of
  them, and the name then stands for an index of these. Two images of one platform under one name are ambiguous.
* With a platform, entries at the top that have nothing for it are passed over; without one, an image that is alone with
  its name is taken, whatever it is for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import AmbiguousError, ArstoreError, ManifestError, PlatformError
from arstore.oci.descriptor import Descriptor, Flawed
from arstore.oci.index import Index
from arstore.oci.media_type import OCI_INDEX, is_manifest
from arstore.oci.platform import Platform, host, select
from arstore.store.ingest.incoming import IncomingIndex
from arstore.tar.limits import DEFAULT_LIMITS, Limits
from arstore.transport.candidates import Candidates
from arstore.transport.documents import Documents
from arstore.transport.entries import image_entries
from arstore.transport.skipped import SkippedTop, skipped_entry
from arstore.transport.taking import Taking, joined
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from arstore.digest import Digest
    from arstore.transport.candidates import Candidate
    from arstore.transport.source import ImageSource, SourceImage
    from arstore.transport.taking import Absent, Selection

_OFFERS = 5
"""Platforms that an error names."""


class Wanted(NamedTuple):
    """Which of an index's images are wanted: those of one platform (None: the host's), or all."""

    platform: Platform | None = None
    every: bool = False


class Selector:
    """Reads the documents of one source; *skipped* learns what is passed over."""

    def __init__(
        self, source: ImageSource, wanted: Wanted, limits: Limits = DEFAULT_LIMITS, skipped: SkippedTop | None = None
    ) -> None:
        self._source = source
        self._limits = limits
        self._wanted = wanted
        self._platform = wanted.platform or host()
        self._documents = Documents(source, limits)
        self._candidates = Candidates(self._documents, limits)
        self._skipped = SkippedTop() if skipped is None else skipped
        self._taking = Taking(source, self._documents, self._skipped, limits)
        self._best: dict[Hashable, Candidate | None] = {}
        self._passed: list[SourceImage] = []
        self._flawed: dict[int, tuple[SourceImage, Flawed]] = {}
        self._members: dict[Digest, dict[Platform, Digest]] = {}

    def select(self) -> Selection:
        """Follow everything that the source lists.

        Raises PlatformError when there is nothing for the platform, AmbiguousError for two images of one platform under
        one name, ManifestError, MissingBlobError, LimitError, and the errors of the source.
        """
        entries = image_entries(self._source, self._documents, self._candidates, self._skipped, self._limits)
        for group, names in _grouped(entries):
            if self._wanted.every:
                self._take_all(group, names)
            else:
                self._take_one(group, names)
        if not self._taking.selection.images:
            raise self._nothing()
        self._report_passed(entries)
        return self._taking.selection

    # --- one platform -----------------------------------------------------------------------------------------------

    def _take_one(self, group: Sequence[SourceImage], names: Sequence[str]) -> None:
        """Take the image that entries of one name have for the platform that is wanted."""
        entry = group[0].descriptor
        if len(group) == 1 and self._wanted.platform is None and not self._is_index(entry):
            if isinstance(entry, Flawed):
                self._set_aside(group[0], entry)
            else:
                self._taking.image(entry, names)
            return
        chosen = [(image, best) for image in group if (best := self._choose(image.descriptor)) is not None]
        found = [best for _, best in chosen if isinstance(best.entry, Descriptor)]
        digests = {best.entry.digest for best in found}
        for image, best in chosen:
            if isinstance(best.entry, Flawed):
                if found and best.entry.digest not in digests:
                    raise _uncertain(best.entry, names[0])
                self._set_aside(image, best.entry)
        if not chosen:
            if self._wanted.platform is None:
                raise self._no_platform(group)
            self._passed.extend(group)
        if not found:
            return
        first = found[select([one.platform for one in found], self._platform)[0]]
        rivals = {one.entry.digest for one in found if _is_same(one.platform, first.platform)}
        if len(rivals) > 1:
            raise self._ambiguous(names[0], first.platform, sorted(rivals))
        self._taking.image(first.entry, names)

    def _choose(self, entry: Descriptor | Flawed) -> Candidate | None:
        key = _key(entry)
        if key not in self._best:
            self._best[key] = self._candidates.best(entry, self._platform)
        return self._best[key]

    def _is_index(self, entry: Descriptor | Flawed) -> bool:
        if isinstance(entry, Flawed) or is_manifest(entry.media_type):
            return False
        return self._documents.nature(entry).is_index

    def _set_aside(self, image: SourceImage, flawed: Flawed) -> None:
        """Pass over an entry at the top: it is malformed, or an index that has *flawed* where its image should be."""
        self._flawed[id(image)] = (image, flawed)

    def _report_passed(self, entries: Iterable[SourceImage]) -> None:
        """Report the entries at the top of which nothing was taken: malformed ones, and those for other platforms."""
        selection = self._taking.selection
        for image in entries:
            entry = image.descriptor
            if id(image) in self._flawed:
                self._skipped.add(entry, _why_flawed(*self._flawed[id(image)]), image.names)
                continue
            if self._wanted.every:
                continue
            best = self._best.get(_key(entry))
            digest = entry.digest if best is None else best.entry.digest
            if digest not in selection.images:
                offers = ", ".join(self._candidates.offers(entry)[:_OFFERS]) or "an unknown platform"
                self._skipped.add(entry, f"for {offers}, not for {self._platform}", image.names)

    def _no_platform(self, images: Sequence[SourceImage]) -> PlatformError:
        offers = sorted({offer for image in images for offer in self._candidates.offers(image.descriptor)})
        why = f"has no image for {self._platform}"
        if not offers:
            return PlatformError(self._source.what, why, "it has none at all whose platform is known")
        more = f" and {len(offers) - _OFFERS} more" if len(offers) > _OFFERS else ""
        way = f"--platform {offers[0]} takes it" if len(offers) == 1 else "--platform takes one of them"
        return PlatformError(self._source.what, why, f"it has {', '.join(offers[:_OFFERS])}{more}; {way}")

    # --- all platforms ----------------------------------------------------------------------------------------------

    def _take_all(self, group: Sequence[SourceImage], names: Sequence[str]) -> None:
        """Take all images of the entries of one name, which then stands for an index of them.

        That is the entry that lists the others, if there is one, else one made here: the same for the same entries.
        """
        absent: Absent = []
        tops: dict[Digest, Descriptor] = {}
        for image in group:
            entry = image.descriptor
            if len(group) == 1 and isinstance(entry, Descriptor) and not self._is_index(entry):
                self._taking.image(entry, names)
                return
            before = len(absent)
            if isinstance(entry, Flawed):
                self._set_aside(image, entry)
            elif self._take_top(entry, absent):
                tops.setdefault(entry.digest, entry)
            elif len(absent) == before:
                for flawed in self._flawed_below(entry)[:1]:
                    self._set_aside(image, flawed)
        self._taking.report_absent(absent, bool(tops))
        self._refuse_uncertain(group, names, tops)
        self._refuse_rivals(names, tops.values())
        outer = next((top for top in tops if set(tops) <= {top, *self._listed(top)}), None)
        if outer is not None and outer not in self._taking.selection.indexes:
            self._taking.image(tops[outer], names)
        elif outer is not None:
            self._taking.selection.name_index(outer, names)
        elif tops:
            self._make_index(list(tops.values()), names)

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
        self._taking.add_index(IncomingIndex(digest, OCI_INDEX, raw, tuple(top.digest for top in tops), joined(names)))

    def _listed(self, top: Digest) -> Sequence[Digest]:
        """What the index *top* lists and was taken; nothing for an image."""
        index = self._taking.selection.indexes.get(top)
        return () if index is None else index.manifests

    def _refuse_rivals(self, names: Sequence[str], tops: Iterable[Descriptor]) -> None:
        """Raise AmbiguousError when two of the entries of one name have different images for one platform."""
        seen: dict[Platform, Digest] = {}
        for top in tops:
            for platform, digest in self._images_below(top).items():
                if seen.setdefault(platform, digest) != digest:
                    raise self._ambiguous(names[0], platform, [seen[platform], digest])

    def _refuse_uncertain(
        self, group: Iterable[SourceImage], names: Sequence[str], tops: Mapping[Digest, Descriptor]
    ) -> None:
        """Raise ManifestError when a malformed entry may be for a platform for which its name has an image."""
        aside = [image.descriptor for image in group if id(image) in self._flawed]
        taken = {platform for top in tops.values() if aside for platform in self._images_below(top)}
        for entry in aside if tops else ():
            for flawed in self._flawed_below(entry):
                platform = flawed.platform
                is_other = platform is not None and platform.is_known and platform.normalised() not in taken
                if flawed.digest not in tops and not is_other:
                    raise _uncertain(flawed, names[0])

    def _flawed_below(self, entry: Descriptor | Flawed) -> list[Flawed]:
        return [one.entry for one in self._candidates.below(entry) if isinstance(one.entry, Flawed)]

    def _images_below(self, top: Descriptor) -> dict[Platform, Digest]:
        """The images that were taken below an entry at the top, by their platforms; the first one of each."""
        known = self._members.get(top.digest)
        if known is None:
            known = self._members[top.digest] = {}
            for one in self._candidates.below(top):
                if isinstance(one.entry, Descriptor) and one.entry.digest in self._taking.selection.images:
                    platform = self._candidates.platform(one.entry)
                    if platform is not None:
                        known.setdefault(platform.normalised(), one.entry.digest)
        return known

    # --- errors -----------------------------------------------------------------------------------------------------

    def _ambiguous(self, name: str, platform: Platform | None, digests: Sequence[str]) -> AmbiguousError:
        why = f"has {len(digests)} images for {platform} with the name {name}: {' and '.join(digests[:2])}"
        return AmbiguousError(self._source.what, why, "import one of them as TRANSPORT:PATH@DIGEST")

    def _nothing(self) -> ArstoreError:
        """The error that says why no image is there."""
        why = f"has no image for {self._platform}" if self._passed else "has no container image in it"
        if self._flawed:
            image, flawed = next(iter(self._flawed.values()))
            label = skipped_entry(image.descriptor, "", image.names).label
            more = f"so are {len(self._flawed) - 1} more entries" if len(self._flawed) > 1 else ""
            return ManifestError(self._source.what, f"{why}: {label} is {_why_flawed(image, flawed)}", more)
        if self._passed:
            return self._no_platform(self._passed)
        if not self._skipped.count:
            return ManifestError(self._source.what, why)
        first = self._skipped.entries[0]
        more = f"; so are {self._skipped.count - 1} more entries" if self._skipped.count > 1 else ""
        return ManifestError(self._source.what, f"{why}: {first.label} is {first.why}", more.removeprefix("; "))


def _grouped(entries: Sequence[SourceImage]) -> list[tuple[list[SourceImage], list[str]]]:
    """The entries by their names, in their order: those of one name together, and names of the same entries together.

    An entry without a name stands for itself.
    """
    by_name: dict[str, list[int]] = {}
    groups: dict[tuple[int, ...], list[str]] = {}
    for place, image in enumerate(entries):
        for name in image.names:
            by_name.setdefault(name, []).append(place)
        if not image.names:
            groups[(place,)] = []
    for name, places in by_name.items():
        groups.setdefault(tuple(places), []).append(name)
    return [([entries[place] for place in places], names) for places, names in sorted(groups.items())]


def _key(entry: Descriptor | Flawed) -> Hashable:
    """What entries have in common that are one image; a malformed one is never one with a sound one."""
    return type(entry), entry.digest, entry.media_type, entry.platform


def _why_flawed(image: SourceImage, flawed: Flawed) -> str:
    return flawed.why if image.descriptor is flawed else f"an index with {flawed.why} for its image"


def _uncertain(flawed: Flawed, name: str) -> ManifestError:
    why = f"{flawed.error.why}; the name {name} may mean this entry or another"
    return ManifestError(flawed.error.what, why, "import one of the others as TRANSPORT:PATH@DIGEST")


def _is_same(one: Platform | None, other: Platform | None) -> bool:
    return one is not None and other is not None and one.normalised() == other.normalised()
