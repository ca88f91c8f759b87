"""Top entries of a source from which nothing is taken: malformed ones, and those for other platforms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import ArstoreError, ManifestError, PlatformError
from arstore.transport.skipped import skipped_entry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.oci.descriptor import Flawed
    from arstore.oci.platform import Platform
    from arstore.transport.selection.candidates import Candidates
    from arstore.transport.skipped import SkippedTop
    from arstore.transport.source import SourceImage

_OFFERS = 5
"""Platforms that an error lists at most."""


class PassedOver:
    """The passed-over entries of the source *what* when images for *platform* are wanted; reported to *skipped*."""

    def __init__(self, what: str, platform: Platform, candidates: Candidates, skipped: SkippedTop) -> None:
        self._what = what
        self._platform = platform
        self._candidates = candidates
        self._skipped = skipped
        self._unsuited: list[SourceImage] = []
        self._flawed: dict[int, tuple[SourceImage, Flawed]] = {}

    def set_aside(self, image: SourceImage, flawed: Flawed) -> None:
        """Set an entry aside: it is malformed, or an index that has *flawed* where its image should be."""
        self._flawed[id(image)] = (image, flawed)

    def is_aside(self, image: SourceImage) -> bool:
        """Whether the entry was set aside."""
        return id(image) in self._flawed

    def leave(self, images: Sequence[SourceImage]) -> None:
        """Pass over entries that have nothing for the platform."""
        self._unsuited.extend(images)

    def report_flawed(self, image: SourceImage) -> None:
        """Report an entry that was set aside."""
        self._skipped.add(image.descriptor, _why_flawed(*self._flawed[id(image)]), image.names)

    def report_unsuited(self, image: SourceImage) -> None:
        """Report an entry from which nothing was taken, with the platforms that it offers."""
        offers = ", ".join(self._candidates.offers(image.descriptor)[:_OFFERS]) or "an unknown platform"
        self._skipped.add(image.descriptor, f"for {offers}, not for {self._platform}", image.names)

    def no_platform(self, images: Sequence[SourceImage]) -> PlatformError:
        """The error for *images* that have nothing for the platform."""
        offers = sorted({offer for image in images for offer in self._candidates.offers(image.descriptor)})
        why = f"has no image for {self._platform}"
        if not offers:
            return PlatformError(self._what, why, "the platforms of its images are not known")
        more = f" and {len(offers) - _OFFERS} more" if len(offers) > _OFFERS else ""
        way = f"select it with --platform {offers[0]}" if len(offers) == 1 else "select one with --platform"
        return PlatformError(self._what, why, f"it has {', '.join(offers[:_OFFERS])}{more}; {way}")

    def nothing(self) -> ArstoreError:
        """The error for a source from which nothing was taken, with the reason."""
        why = f"has no image for {self._platform}" if self._unsuited else "contains no container image"
        if self._flawed:
            image, flawed = next(iter(self._flawed.values()))
            label = skipped_entry(image.descriptor, "", image.names).label
            more = f"so are {len(self._flawed) - 1} more entries" if len(self._flawed) > 1 else ""
            return ManifestError(self._what, f"{why}: {label} is {_why_flawed(image, flawed)}", more)
        if self._unsuited:
            return self.no_platform(self._unsuited)
        if not self._skipped.count:
            return ManifestError(self._what, why)
        first = self._skipped.entries[0]
        more = f"so are {self._skipped.count - 1} more entries" if self._skipped.count > 1 else ""
        return ManifestError(self._what, f"{why}: {first.label} is {first.why}", more)


def _why_flawed(image: SourceImage, flawed: Flawed) -> str:
    return flawed.why if image.descriptor is flawed else f"an index with {flawed.why} for its image"
