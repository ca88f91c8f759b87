"""An archive with two lists of its images: the `index.json` of a layout, and a `manifest.json` as `docker save` has it.

Docker 25 and later and containerd write both, for the same images. Where the lists differ, no image of either is lost:

* An entry of `index.json` that is whole (manifest, config and layers are there, and fit one another) is taken as the
  layout has it, with the manifest's own bytes and digest.
* An image of `manifest.json` whose config no whole entry has is taken as a docker-archive has it, in the place of the
  entry for it that is not whole.
* All other entries are left to `selection`, which says what is wrong with them, or that they are no images.

The names in `manifest.json` (`RepoTags`) count for every image with that config; an annotation that only spells such a
name in another way, or that could be a mere tag of it, is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from arstore.errors import ArstoreError
from arstore.oci.config import ImageConfig
from arstore.oci.descriptor import CONTAINERD_NAME, REF_NAME, Descriptor, Flawed
from arstore.oci.document import BOUNDS, Bounds
from arstore.tar.codec import HEAD, Compression, detect
from arstore.transport.docker_archive import DockerArchive, items
from arstore.transport.layout import Layout
from arstore.transport.medium import Medium
from arstore.transport.names import EVERYTHING, Choice, same_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.digest import Digest
    from arstore.oci.manifest import Manifest
    from arstore.transport.docker_archive import Item
    from arstore.transport.members import Members
    from arstore.transport.names import Claims
    from arstore.transport.source import BlobReader


class _Look(NamedTuple):
    """The configs that an entry of `index.json` leads to: all that can be read, and those of images that are whole."""

    configs: tuple[Digest, ...] = ()
    whole: tuple[Digest, ...] = ()


class Hybrid(Medium):
    """The source of an archive that is a layout and a docker-archive.

    With *layout_only*, `manifest.json` gives names, and no images.
    """

    def __init__(
        self,
        members: Members,
        file_name: str = "",
        choice: Choice = EVERYTHING,
        bounds: Bounds = BOUNDS,
        *,
        layout_only: bool = False,
    ) -> None:
        super().__init__(members, file_name, choice, bounds)
        self._members = members
        self._layout = Layout(members, file_name, choice, bounds)
        self._docker = DockerArchive(members, file_name, choice, bounds)
        self._layout_only = layout_only
        self._looks: dict[Digest, _Look] = {}

    def claims(self) -> Claims:
        """The entries of `index.json` that are whole, and the images of `manifest.json` that they leave out."""
        table = self._table()
        entries = [(entry, self._look_at(entry)) for entry in self._entries(bool(table))]
        covered = {config for _, look in entries for config in look.whole}
        left = [] if self._layout_only else [item for config, item in table if config not in covered]
        claims: Claims = []
        for entry, look in entries:
            item = None if look.whole else self._instead(entry, look, left)
            if item is None:
                claims.append((entry, self._names(entry, look, table)))
            else:
                left.remove(item)
                claims.append((self._docker.manifest(item), item.names or self._layout.names_of(entry)))
        for item in left:
            self._add(item, claims)
        return self._layout.with_chosen(claims)

    def _add(self, item: Item, claims: Claims) -> None:
        """Add an image that `manifest.json` alone lists; one that is not there is one of *claims* when its names are.

        Raises as `DockerArchive.manifest`.
        """
        try:
            claims.append((self._docker.manifest(item), item.names))
        except ArstoreError:
            brought = [name for _, names in claims for name in names]
            if not item.names or not all(same_name(name, brought) for name in item.names):
                raise

    def choose(self, claims: Claims) -> Choice:
        """As for a layout."""
        return self._layout.choose(claims)

    def find(self, digest: Digest) -> BlobReader | None:
        """A blob of the layout, or a document that was made, or a member of the docker-archive."""
        return self._layout.find(digest) or self._docker.held(digest)

    def _entries(self, has_table: bool) -> Sequence[Descriptor | Flawed]:
        """What `index.json` lists; nothing when it cannot be read and `manifest.json` can."""
        try:
            return self._layout.entries()
        except ArstoreError:
            if has_table and not self._layout_only:
                return ()
            raise

    def _table(self) -> list[tuple[Digest | None, Item]]:
        """What `manifest.json` lists, with the digests of the configs; nothing when it cannot be read."""
        try:
            return [(self._docker.config_digest(item), item) for item in items(self._members, self._bounds)]
        except ArstoreError:
            return []

    def _instead(self, entry: Descriptor | Flawed, look: _Look, left: Sequence[Item]) -> Item | None:
        """The image of `manifest.json` that an entry which is not whole must mean: by its config, its name, or as the
        only one that is left.
        """
        for item in left:
            if self._docker.config_digest(item) in look.configs:
                return item
        if look.configs or (isinstance(entry, Descriptor) and not self._is_lost(entry)):
            return None
        names = self._layout.names_of(entry)
        named = [item for item in left if any(same_name(name, item.names) for name in names)]
        return next(iter(named or left), None) if named or len(left) == 1 else None

    def _is_lost(self, entry: Descriptor) -> bool:
        """Whether an entry of an image has no document that could be read, so that nobody knows its config."""
        looked = list(self._layout.below(entry))
        return len(looked) == 1 and looked[0][1] is None

    def _names(
        self, entry: Descriptor | Flawed, look: _Look, table: Sequence[tuple[Digest | None, Item]]
    ) -> Sequence[str]:
        note = self._layout.names_of(entry)
        tags = [name for config, item in table if config in look.configs for name in item.names]
        tags = list(dict.fromkeys(tags))
        if not note or (tags and (same_name(note[0], tags) or _is_tag_only(entry))):
            return tags
        return [*tags, *note]

    def _look_at(self, entry: Descriptor | Flawed) -> _Look:
        if isinstance(entry, Flawed):
            return _Look()
        known = self._looks.get(entry.digest)
        if known is None:
            manifests = [manifest for _, manifest in self._layout.below(entry) if manifest is not None]
            configs = tuple(dict.fromkeys(manifest.config.digest for manifest in manifests))
            whole = tuple(manifest.config.digest for manifest in manifests if self._is_whole(manifest))
            known = self._looks[entry.digest] = _Look(configs, whole)
        return known

    def _is_whole(self, manifest: Manifest) -> bool:
        """Whether config and layers are here, and fit as far as that can be seen without inflating anything."""
        try:
            raw = self._layout.document(manifest.config) if manifest.is_image else None
            if raw is None:
                return False
            config = ImageConfig.parse(raw, bounds=self._bounds)
            if len(config.diff_ids) != len(manifest.layers):
                return False
            return all(map(self._fits, manifest.layers, config.diff_ids))
        except ArstoreError:
            return False

    def _fits(self, layer: Descriptor, diff_id: Digest) -> bool:
        blob = self._layout.find(layer.digest)
        if blob is None:
            return layer.data is not None
        try:
            # An uncompressed layer has its diff ID for a digest.
            return (
                detect(blob.read(HEAD)) is not Compression.NONE
                or layer.digest.algorithm != diff_id.algorithm
                or layer.digest == diff_id
            )
        finally:
            blob.close()


def _is_tag_only(entry: Descriptor | Flawed) -> bool:
    """Whether the annotations hold a word that could be a mere tag, and no full name."""
    word = entry.annotations.get(REF_NAME, "")
    return CONTAINERD_NAME not in entry.annotations and "/" not in word and ":" not in word
