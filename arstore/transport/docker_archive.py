"""The archive that `docker save` writes, and podman, skopeo, kaniko, bazel and others after it.

`manifest.json` lists images as `{"Config": member, "RepoTags": [name…] or null, "Layers": [member…]}`; any member may
be a link to another one. There is no manifest with digests, so one is made: an OCI manifest whose config is the
archive's, byte for byte, and whose layers are the members as they are stored. An uncompressed layer has its diff ID for
a digest and is not read here; a compressed one is read once to know its digest. A config that is named by its digest
must have it.

A RepoTag that is no valid name, such as `<none>:<none>`, is left out. Archives of Docker before 1.10 (`repositories`
and `<id>/json` only) are not readable: they have no config and no diff IDs to verify anything against.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.digest import CHUNK, Digest, is_digest
from arstore.errors import DigestMismatchError, InvalidReferenceError, ManifestError, UnknownFormatError
from arstore.oci import media_type
from arstore.oci.config import ImageConfig
from arstore.oci.descriptor import Descriptor
from arstore.oci.document import BOUNDS, Bounds, Fields, parse_list, shown
from arstore.oci.manifest import Manifest
from arstore.oci.reference import parse_name
from arstore.tar.codec import HEAD, Compression, detect
from arstore.transport.media.base import Medium
from arstore.transport.media.blob import Bytes
from arstore.transport.media.members import Members
from arstore.transport.names import EVERYTHING, Choice, Claims
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from arstore.transport.media.blob import Extent


class Item(NamedTuple):
    """One image as `manifest.json` lists it: member names, and the valid names among its tags."""

    config: str
    layers: tuple[str, ...]
    names: tuple[str, ...]


class _Config(NamedTuple):
    """What is known of a config: its diff IDs bottom first."""

    digest: Digest
    size: int
    diff_ids: tuple[Digest, ...]


def is_docker_archive(members: Members) -> bool:
    """Whether *members* has a `manifest.json` that is a list, which is what tells the format from `dir:`."""
    blob = members.open("manifest.json")
    return blob is not None and blob.read(4096).lstrip().startswith(b"[")


def items(members: Members, bounds: Bounds = BOUNDS) -> tuple[Item, ...]:
    """What `manifest.json` lists.

    Raises ManifestError, LimitError, UnknownFormatError.
    """
    what = f"{members.what}: manifest.json"
    raw = members.read("manifest.json", bounds)
    if raw is None:
        raise UnknownFormatError(members.what, "is no docker-archive: it has no manifest.json")
    found = (Fields.of(each, what, f"[{place}]") for place, each in enumerate(parse_list(raw, what, bounds)))
    return tuple(Item(each.string("Config", required=True), each.strings("Layers"), _repo_tags(each)) for each in found)


class DockerArchive(Medium):
    """The source of a docker-archive."""

    def __init__(
        self, members: Members, file_name: str = "", choice: Choice = EVERYTHING, bounds: Bounds = BOUNDS
    ) -> None:
        super().__init__(members, file_name, choice, bounds)
        self._members = members
        self._documents: dict[Digest, bytes] = {}
        self._layers: dict[Digest, bytes] = {}
        self._hashed: dict[bytes, Descriptor] = {}
        self._configs: dict[str, _Config] = {}
        self._made: dict[tuple[str, tuple[str, ...]], Descriptor] = {}

    def claims(self) -> Claims:
        """A manifest made for each image of `manifest.json`, with its tags."""
        return [(self.manifest(item), item.names) for item in items(self._members, self._bounds)]

    def find(self, digest: Digest) -> Extent | Bytes | None:
        """A layer from its member; a config or a manifest from memory."""
        self.images()
        return self.held(digest)

    def held(self, digest: Digest) -> Extent | Bytes | None:
        """As `find`, for the images that `manifest` was called for."""
        document = self._documents.get(digest)
        if document is not None:
            return Bytes(document)
        member = self._layers.get(digest)
        return None if member is None else self._members.open(member)

    def config_digest(self, item: Item) -> Digest | None:
        """The digest of an image's config; None when the config is not there. Raises as `manifest`."""
        return _digest_in(item.config) or self._config(item.config).digest

    def manifest(self, item: Item) -> Descriptor:
        """Make the manifest of an image, once for however many mentions.

        Raises MissingBlobError, DigestMismatchError, ManifestError, UnsafePathError, LimitError.
        """
        key = (item.config, item.layers)
        known = self._made.get(key)
        if known is None:
            known = self._made[key] = self._manifest(item)
        return known

    def _manifest(self, item: Item) -> Descriptor:
        config = self._config(item.config)
        if len(config.diff_ids) != len(item.layers):
            why = f"has {len(config.diff_ids)} diff IDs, but manifest.json lists {len(item.layers)} layers for it"
            raise ManifestError(self._named(item.config), why)
        layers = [self._layer(name, diff_id) for name, diff_id in zip(item.layers, config.diff_ids, strict=True)]
        document = Manifest.build(Descriptor(media_type.OCI_CONFIG, config.digest, config.size), layers)
        return Descriptor(media_type.OCI_MANIFEST, self._keep(document), len(document))

    def _config(self, name: str) -> _Config:
        """A config, read once."""
        known = self._configs.get(name)
        if known is None:
            what = self._named(name)
            raw = self._members.read(self._members.resolve(name), self._bounds)
            if raw is None:
                raise self.missing(f"config {shown(name)}")
            announced, digest = _digest_in(name), self._keep(raw)
            if announced is not None and digest != announced:
                raise DigestMismatchError(what, f"its content has the digest {digest}")
            known = self._configs[name] = _Config(digest, len(raw), ImageConfig.parse(raw, what, self._bounds).diff_ids)
        return known

    def _named(self, member: str) -> str:
        return f"{self.what}: {shown(member)}"

    def _layer(self, name: str, diff_id: Digest) -> Descriptor:
        member = self._members.resolve(name)
        blob = self._members.open(member)
        if blob is None:
            raise self.missing(f"layer {shown(name)}")
        compression = detect(blob.read(HEAD), blob.what)
        if compression is Compression.NONE:
            descriptor = Descriptor(media_type.OCI_LAYER, diff_id, blob.length)
        else:
            descriptor = self._hashed.get(member) or _compressed(blob, compression)
            self._hashed[member] = descriptor
        self._layers[descriptor.digest] = member
        return descriptor

    def _keep(self, document: bytes) -> Digest:
        digest = Digest.of(document)
        self._documents[digest] = document
        return digest


def _compressed(blob: Extent, compression: Compression) -> Descriptor:
    hasher = hashlib.sha256()
    blob.seek(0)
    while data := blob.read(CHUNK):
        hasher.update(data)
    # There is no type for xz and bzip2; like every reader of such images, arstore goes by the content.
    kind = media_type.OCI_LAYERS.get(compression.value, media_type.OCI_LAYER)
    return Descriptor(kind, Digest.finished("sha256", hasher), blob.length)


def _repo_tags(fields: Fields) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for text in fields.strings("RepoTags"):
        with suppress(InvalidReferenceError):
            names[str(parse_name(text))] = None
    return tuple(names)


def _digest_in(member: str) -> Digest | None:
    """The digest that a config's member name states: `<hex>.json`, `blobs/sha256/<hex>` or `sha256:<hex>`."""
    stem = member.rpartition("/")[2].removesuffix(".json").removeprefix("sha256:")
    return Digest(f"sha256:{stem}") if is_digest(f"sha256:{stem}") else None
