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

from arstore.oci.descriptor import Descriptor, Flawed
from arstore.oci.platform import Platform, host, select
from arstore.tar.limits import DEFAULT_LIMITS, Limits
from arstore.transport.documents import Documents
from arstore.transport.selection.candidates import Candidates
from arstore.transport.selection.entries import image_entries
from arstore.transport.selection.every_platform import EveryPlatform
from arstore.transport.selection.groups import ambiguous, entry_key, grouped, uncertain
from arstore.transport.selection.passed_over import PassedOver
from arstore.transport.selection.taking import Taking
from arstore.transport.skipped import SkippedTop
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from arstore.transport.admission.gate import Gate
    from arstore.transport.selection.candidates import Candidate
    from arstore.transport.selection.taking import Selection
    from arstore.transport.source import ImageSource, SourceImage


class Wanted(NamedTuple):
    """Which of an index's images are wanted: those of one platform (None: the host's), or all.

    `referrers` says whether what is attached to them comes along; None: where asking costs no requests.
    """

    platform: Platform | None = None
    every: bool = False
    referrers: bool | None = None


class Selector:
    """Reads the documents of one source; *skipped* learns what is passed over."""

    def __init__(
        self,
        source: ImageSource,
        wanted: Wanted,
        limits: Limits = DEFAULT_LIMITS,
        skipped: SkippedTop | None = None,
        gate: Gate | None = None,
    ) -> None:
        """Without a *gate*, images are taken whoever made them."""
        self._gate = gate
        self._source = source
        self._limits = limits
        self._wanted = wanted
        self._platform = wanted.platform or host()
        # A medium may have read some to know what it lists.
        self._documents = Documents(source, limits, getattr(source, "facts", None), gate)
        self._candidates = Candidates(self._documents, limits)
        self._skipped = SkippedTop() if skipped is None else skipped
        self._taking = Taking(source, self._documents, self._skipped, limits)
        self._passed = PassedOver(source.what, self._platform, self._candidates, self._skipped)
        self._best: dict[Hashable, Candidate | None] = {}

    def select(self) -> Selection:
        """Follow everything that the source lists.

        Raises PlatformError when there is nothing for the platform, AmbiguousError for two images of one platform under
        one name, ManifestError, MissingBlobError, LimitError, RejectedError and PolicyError of the gate, and the errors
        of the source.
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
            # What an image was accepted by comes along, so that it can be judged again.
            from arstore.transport.selection.attached import Attaching

            carriers = [one for found in self._gate.admitted.values() for one in found.carriers]
            Attaching(self._source, self._documents, selection, self._skipped).add_these(carriers)
        return selection

    def _take_one(self, group: Sequence[SourceImage], names: Sequence[str]) -> None:
        """Take the image that entries of one name have for the platform that is wanted."""
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
        """Report the entries at the top of which nothing was taken."""
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
