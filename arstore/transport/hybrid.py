"""An archive with two lists of its images: `index.json` of an OCI layout, and `manifest.json` of `docker save`.

Docker 25 and later and containerd write both, for the same images. Where the lists differ, images of both are kept:

* An entry of `index.json` that is complete (manifest, config and layers are there, and fit one another) is taken from
  the layout, with the manifest's own bytes and digest.
* An image of `manifest.json` whose config is not in a complete entry is taken as from a docker-archive. It replaces the
  incomplete entry for that image.
* All other entries are left to `selection`, which reports what is wrong with them, or that they are not images.

The names in `manifest.json` (`RepoTags`) apply to every image with that config. An annotation is left out if it only
spells one of these names in another way, or could be just the tag of one.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from arstore.errors import ArstoreError
from arstore.oci.descriptor import CONTAINERD_NAME, REF_NAME, Descriptor, Flawed
from arstore.oci.document import BOUNDS, Bounds
from arstore.tar.codec import HEAD, Compression, detect
from arstore.tar.limits import DEFAULT_LIMITS, Limits
from arstore.transport.docker_archive import DockerArchive
from arstore.transport.image_table import ImageTable
from arstore.transport.layout import Layout
from arstore.transport.media.base import Medium
from arstore.transport.names import EVERYTHING, Choice, same_name
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from arstore.digest import Digest
    from arstore.oci.manifest import Manifest
    from arstore.transport.docker_archive import Item
    from arstore.transport.media.blob import Bytes, Extent
    from arstore.transport.media.members import Members
    from arstore.transport.names import Claims
    from arstore.transport.source import Attached, SourceImage


class _Look(NamedTuple):
    """The configs that an entry of `index.json` leads to: all readable ones, and those of complete images."""

    configs: tuple[Digest, ...] = ()
    whole: tuple[Digest, ...] = ()


class Hybrid(Medium):
    """The source of an archive that is both a layout and a docker-archive.

    With *layout_only*, `manifest.json` provides names only, not images.
    """

    def __init__(
        self,
        members: Members,
        file_name: str = "",
        choice: Choice = EVERYTHING,
        bounds: Bounds = BOUNDS,
        limits: Limits = DEFAULT_LIMITS,
        *,
        layout_only: bool = False,
    ) -> None:
        super().__init__(members, file_name, choice, bounds, limits)
        self._layout = Layout(members, file_name, choice, bounds, limits, self.facts)
        self._docker = DockerArchive(members, file_name, choice, bounds, limits, self.facts)
        self._layout_only = layout_only
        self._looks: dict[Digest, _Look] = {}
        self._whole: dict[Digest, bool] = {}
        self._compressed: dict[Digest, bool | None] = {}

    @property
    def transport(self) -> str:
        """The name of the transport."""
        return "oci-archive"

    def claims(self) -> Claims:
        """The complete entries of `index.json`, and the images of `manifest.json` that are not among them."""
        table = ImageTable(self._docker)
        entries = [(entry, self._look_at(entry)) for entry in self._entries(bool(table))]
        for _, look in entries:
            table.leave_out(look.whole)
        if self._layout_only:
            table.leave_out_all()
        claims: Claims = []
        told: set[Hashable] = set()
        for entry, look in entries:
            item = None if look.whole else self._instead(entry, look, table)
            if item is None:
                # The tags are listed once, however often an entry is repeated.
                key = (type(entry), entry.digest, entry.media_type, entry.platform)
                claims.append((entry, self._names(entry, table.names(look.configs), again=key in told)))
                told.add(key)
            else:
                claims.append((self._docker.manifest(item), item.names or self._layout.names_of(entry)))
        brought = {name for _, names in claims for name in names}
        for item in table.left():
            self.facts.work.visit(len(item.names))
            # If the layout has all names of this image, a missing part of it is not a loss.
            with suppress(*((ArstoreError,) if item.names and _all_among(item.names, brought) else ())):
                claims.append((self._docker.manifest(item), item.names))
        return self._layout.with_chosen(claims)

    def choose(self, claims: Claims) -> Choice:
        """The choice that `Layout.choose` makes."""
        return self._layout.choose(claims)

    def attachments(self, subject: Digest) -> Sequence[Attached]:
        """The attachments in the layout; none if `index.json` cannot be read and `manifest.json` replaces it."""
        with suppress(ArstoreError):
            return self._layout.attachments(subject)
        return ()

    def is_attachment(self, image: SourceImage) -> bool:
        """Whether the layout lists *image* as an attachment; False if `index.json` cannot be read."""
        with suppress(ArstoreError):
            return self._layout.is_attachment(image)
        return False

    def find(self, digest: Digest) -> Extent | Bytes | None:
        """A blob of the layout, a document made here, or a member of the docker-archive."""
        found = self._layout.find(digest)
        if found is None:
            self.images()
            return self._docker.held(digest)
        return found

    def _entries(self, has_table: bool) -> Sequence[Descriptor | Flawed]:
        """The entries of `index.json`; none if it cannot be read but `manifest.json` can."""
        try:
            return self._layout.entries()
        except ArstoreError:
            if has_table and not self._layout_only:
                return ()
            raise

    def _instead(self, entry: Descriptor | Flawed, look: _Look, table: ImageTable) -> Item | None:
        """The image of `manifest.json` that an incomplete entry must mean: by its config, by its name, or because it is
        the only one left.
        """
        for config in look.configs:
            found = table.take(config)
            if found is not None:
                return found
        if look.configs or (isinstance(entry, Descriptor) and not self._is_lost(entry)):
            return None
        return table.take_named(self._layout.names_of(entry))

    def _is_lost(self, entry: Descriptor) -> bool:
        """Whether an entry of an image has no readable document, so that its config is unknown."""
        looked = list(islice(self._layout.below(entry), 2))
        return len(looked) == 1 and looked[0][1] is None

    def _names(self, entry: Descriptor | Flawed, tags: Mapping[str, None], *, again: bool) -> Sequence[str]:
        if not again:
            self.facts.work.visit(len(tags))
        note = self._layout.names_of(entry)
        if note and tags and (same_name(note[0], tags) or _is_tag_only(entry)):
            note = ()
        return note if again else [*tags, *note]

    def _look_at(self, entry: Descriptor | Flawed) -> _Look:
        if isinstance(entry, Flawed):
            return _Look()
        known = self._looks.get(entry.digest)
        if known is None:
            configs: dict[Digest, None] = {}
            whole: dict[Digest, None] = {}
            for one, manifest in self._layout.below(entry):
                if manifest is not None:
                    configs[manifest.config.digest] = None
                    if self._is_whole(one.digest, manifest):
                        whole[manifest.config.digest] = None
            known = self._looks[entry.digest] = _Look(tuple(configs), tuple(whole))
        return known

    def _is_whole(self, digest: Digest, manifest: Manifest) -> bool:
        """Whether config and layers are here and fit, as far as this can be checked without decompressing."""
        known = self._whole.get(digest)
        if known is None:
            known = self._whole[digest] = manifest.is_image and self._fits(manifest)
        return known

    def _fits(self, manifest: Manifest) -> bool:
        try:
            diff_ids = self._layout.documents.config_facts(manifest.config).diff_ids
            if len(diff_ids) != len(manifest.layers):
                return False
            self.facts.work.visit(len(diff_ids))
            return all(map(self._layer_fits, manifest.layers, diff_ids))
        except ArstoreError:
            return False

    def _layer_fits(self, layer: Descriptor, diff_id: Digest) -> bool:
        is_compressed = self._is_compressed(layer.digest)
        if is_compressed is None:
            return layer.data is not None
        # The digest of an uncompressed layer is its diff ID.
        return is_compressed or layer.digest.algorithm != diff_id.algorithm or layer.digest == diff_id

    def _is_compressed(self, layer: Digest) -> bool | None:
        """Whether a blob is compressed, checked once; None if it is not there."""
        if layer not in self._compressed:
            blob = self._layout.find(layer)
            if blob is None:
                self._compressed[layer] = None
            else:
                try:
                    self._compressed[layer] = detect(blob.read(HEAD)) is not Compression.NONE
                finally:
                    blob.close()
        return self._compressed[layer]


def _all_among(names: Sequence[str], others: set[str]) -> bool:
    return all(same_name(name, others) for name in names)


def _is_tag_only(entry: Descriptor | Flawed) -> bool:
    """Whether the annotations have a word that could be just a tag, and no full name."""
    word = entry.annotations.get(REF_NAME, "")
    return CONTAINERD_NAME not in entry.annotations and "/" not in word and ":" not in word
