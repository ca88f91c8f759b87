"""Select the wanted images among those that a source lists: follow indexes, choose platforms, verify documents.

The result has been read and verified down to the configs; only the layers have not been read. OCI image-spec:
manifest.md, image-index.md, config.md.

* An entry that is not an image is skipped and reported (`entries`). Only types decide this: an image with missing or
  invalid parts is an error, unless it is not needed.
* A malformed entry is skipped, too, and reported with its name, as long as an image remains. It is an error if another
  entry has the same name, so that the name may mean the malformed one.
* Several entries with one name are an index of that name. Either one image is taken, for the wanted platform, or all of
  them, and the name then means an index of these. Two images for one platform under one name are ambiguous.
* If a platform was requested, top entries that have nothing for it are skipped. Otherwise an image that is the only one
  with its name is taken, whatever its platform.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.oci.descriptor import Descriptor, Flawed
from arstore.oci.platform import Platform, host, select
from arstore.tar.limits import DEFAULT_LIMITS, Limits
from arstore.transport.documents import Documents
from arstore.transport.selection.candidates import Candidates
from arstore.transport.selection.entries import image_entries
from arstore.transport.selection.every_platform import EveryPlatform
from arstore.transport.selection.groups import ambiguous, entry_key, grouped, uncertain
from arstore.transport.selection.options import Wanted as Wanted
from arstore.transport.selection.passed_over import PassedOver
from arstore.transport.selection.taking import Taking
from arstore.transport.skipped import SkippedTop

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from arstore.transport.admission.gate import Gate
    from arstore.transport.selection.candidates import Candidate
    from arstore.transport.selection.taking import Selection
    from arstore.transport.source import ImageSource, SourceImage


class Selector:
    """Reads the documents of one source; *skipped* records entries that are passed over."""

    def __init__(
        self,
        source: ImageSource,
        wanted: Wanted,
        limits: Limits = DEFAULT_LIMITS,
        skipped: SkippedTop | None = None,
        gate: Gate | None = None,
    ) -> None:
        """Without a *gate*, all images are accepted."""
        self._gate = gate
        self._source = source
        self._limits = limits
        self._wanted = wanted
        self._platform = wanted.platform or host()
        # A medium may have read some documents already, to list its images.
        self._documents = Documents(source, limits, getattr(source, "facts", None), gate)
        self._candidates = Candidates(self._documents, limits)
        self._skipped = SkippedTop() if skipped is None else skipped
        self._taking = Taking(source, self._documents, self._skipped, limits)
        self._passed = PassedOver(source.what, self._platform, self._candidates, self._skipped)
        self._best: dict[Hashable, Candidate | None] = {}

    def select(self) -> Selection:
        """Follow everything that the source lists.

        Raises PlatformError if there is nothing for the platform, AmbiguousError for two images for one platform under
        one name, ManifestError, MissingBlobError, LimitError, RejectedError and PolicyError from the gate, and the
        errors of the source.
        """
        if self._gate is not None:
            self._gate.open()
        entries = image_entries(self._source, self._documents, self._candidates, self._skipped, self._limits)
        what, work = self._source.what, self._documents.work
        every = EveryPlatform(what, self._candidates, self._taking, self._passed, work)
        for group, names in grouped(entries):
            if self._wanted.every:
                every.take(group, names)
            else:
                self._take_one(group, names)
        if not self._taking.selection.images:
            raise self._passed.nothing()
        self._report_passed(entries)
        selection = self._taking.finish()
        wanted = not self._source.is_remote if self._wanted.referrers is None else self._wanted.referrers
        if wanted:
            from arstore.transport.selection.attached import Attaching

            Attaching(self._source, self._documents, selection, self._skipped).add()
        elif self._gate is not None and self._gate.admitted:
            # The signatures by which an image was accepted are taken, too, so that it can be judged again.
            from arstore.transport.selection.attached import Attaching

            carriers = [one for found in self._gate.admitted.values() for one in found.carriers]
            Attaching(self._source, self._documents, selection, self._skipped).add_these(carriers)
        return selection

    def _take_one(self, group: Sequence[SourceImage], names: Sequence[str]) -> None:
        """Take the image for the wanted platform from entries with one name."""
        entry = group[0].descriptor
        if len(group) == 1 and self._wanted.platform is None and not self._candidates.is_list(entry):
            if isinstance(entry, Flawed):
                self._passed.set_aside(group[0], entry)
            else:
                self._taking.image(entry, names)
            return
        chosen = [(image, best) for image in group if (best := self._choose(image.descriptor)) is not None]
        found = [best for _, best in chosen if isinstance(best.entry, Descriptor)]
        digests = {best.entry.digest for best in found}
        for image, best in chosen:
            if isinstance(best.entry, Flawed):
                if found and best.entry.digest not in digests:
                    raise uncertain(best.entry, names[0])
                self._passed.set_aside(image, best.entry)
        if not chosen:
            if self._wanted.platform is None:
                raise self._passed.no_platform(group)
            self._passed.leave(group)
        if not found:
            return
        first = found[select([one.platform for one in found], self._platform)[0]]
        rivals = {one.entry.digest for one in found if _is_same(one.platform, first.platform)}
        if len(rivals) > 1:
            raise ambiguous(self._source.what, names[0], first.platform, sorted(rivals))
        self._taking.image(first.entry, names)

    def _choose(self, entry: Descriptor | Flawed) -> Candidate | None:
        key = entry_key(entry)
        if key not in self._best:
            self._best[key] = self._candidates.best(entry, self._platform)
        return self._best[key]

    def _report_passed(self, entries: Iterable[SourceImage]) -> None:
        """Report the top entries from which nothing was taken."""
        selection = self._taking.selection
        for image in entries:
            if self._passed.is_aside(image):
                self._passed.report_flawed(image)
            elif not self._wanted.every:
                best = self._best.get(entry_key(image.descriptor))
                digest = image.descriptor.digest if best is None else best.entry.digest
                if digest not in selection.images:
                    self._passed.report_unsuited(image)


def _is_same(one: Platform | None, other: Platform | None) -> bool:
    return one is not None and other is not None and one.normalised() == other.normalised()
