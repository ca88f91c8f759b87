"""The archive format of `docker save`, also written by podman, skopeo, kaniko, bazel and others.

`manifest.json` lists images as `{"Config": member, "RepoTags": [name…] or null, "Layers": [member…]}`; any member may
be a link to another one. The format has no manifest with digests, so one is made: an OCI manifest whose config is the
archive's, byte for byte, and whose layers are the members as they are stored. The digest of an uncompressed layer is
its diff ID, so it is not read here. A compressed layer is read once to compute its digest. A config that is named by
its digest must have that digest.

A RepoTag that is not a valid name, such as `<none>:<none>`, is left out. Archives of Docker before 1.10 (`repositories`
and `<id>/json` only) cannot be read: they have no config and no diff IDs to verify anything against.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.digest import CHUNK, Digest, is_digest
from arstore.errors import DigestMismatchError, InvalidReferenceError, ManifestError, UnknownFormatError
from arstore.oci import media_type
from arstore.oci.descriptor import Descriptor
from arstore.oci.document import BOUNDS, Bounds, Fields, parse_list, shown
from arstore.oci.manifest import Manifest
from arstore.oci.reference import parse_name
from arstore.tar.codec import HEAD, Compression, detect
from arstore.tar.limits import DEFAULT_LIMITS, Limits
from arstore.transport.media.base import Medium
from arstore.transport.media.blob import Bytes
from arstore.transport.media.members import Members
from arstore.transport.names import EVERYTHING, Choice, Claims
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.transport.facts import Facts
    from arstore.transport.media.blob import Extent


NAME = 4
"""Visits that a name counts as: reading a name and writing it in its other spellings takes several times as long."""


class Item(NamedTuple):
    """One image as `manifest.json` lists it: member names, and the valid names among its tags."""

    config: str
    layers: tuple[str, ...]
    names: tuple[str, ...]


class _Config(NamedTuple):
    """A config that was read, by its digest."""

    digest: Digest
    size: int


class _Stored(NamedTuple):
    """A member that holds a layer; it has a descriptor only if it is compressed and so has a digest other than its
    diff ID.
    """

    member: bytes
    size: int
    compressed: Descriptor | None = None


def is_docker_archive(members: Members) -> bool:
    """Whether the `manifest.json` in *members* is a list; in a `dir:` it is an object."""
    blob = members.open("manifest.json")
    return blob is not None and blob.read(4096).lstrip().startswith(b"[")


class DockerArchive(Medium):
    """The source of a docker-archive."""

    def __init__(
        self,
        members: Members,
        file_name: str = "",
        choice: Choice = EVERYTHING,
        bounds: Bounds = BOUNDS,
        limits: Limits = DEFAULT_LIMITS,
        facts: Facts | None = None,
    ) -> None:
        super().__init__(members, file_name, choice, bounds, limits, facts)
        self._members = members
        self._documents: set[Digest] = set()
        self._layers: dict[Digest, bytes] = {}
        self._stored: dict[str, _Stored] = {}
        self._hashed: dict[bytes, Descriptor] = {}
        self._configs: dict[bytes, _Config] = {}
        self._made: dict[tuple[str, tuple[str, ...]], Descriptor] = {}

    @property
    def transport(self) -> str:
        """The name of the transport."""
        return "docker-archive"

    def claims(self) -> Claims:
        """A manifest made for each image of `manifest.json`, with its tags."""
        return [(self.manifest(item), item.names) for item in self.items()]

    def items(self) -> tuple[Item, ...]:
        """The images that `manifest.json` lists.

        Raises ManifestError, LimitError, UnknownFormatError.
        """
        what = f"{self.what}: manifest.json"
        raw = self._members.read("manifest.json", self._bounds)
        if raw is None:
            raise UnknownFormatError(self.what, "is not a docker-archive: it has no manifest.json")
        listed = parse_list(raw, what, self._bounds)
        self.facts.work.list(len(listed))
        return tuple(self._item(Fields.of(each, what, f"[{place}]")) for place, each in enumerate(listed))

    def _item(self, fields: Fields) -> Item:
        tags = fields.strings("RepoTags")
        self.facts.work.visit(NAME * len(tags))
        return Item(fields.string("Config", required=True), fields.strings("Layers"), _valid(tags))

    def find(self, digest: Digest) -> Extent | Bytes | None:
        """A layer from its member; a config or a manifest from memory."""
        self.images()
        return self.held(digest)

    def held(self, digest: Digest) -> Extent | Bytes | None:
        """Like `find`, but only for images whose manifest was made by `manifest` already."""
        document = self.facts.raw(digest) if digest in self._documents else None
        if document is not None:
            return Bytes(document)
        member = self._layers.get(digest)
        return None if member is None else self._members.open(member)

    def config_digest(self, item: Item) -> Digest | None:
        """The digest of an image's config; None if the config is not there.

        Raises DigestMismatchError, ManifestError, UnsafePathError, LimitError.
        """
        return _digest_in(item.config) or self._config(item.config).digest

    def manifest(self, item: Item) -> Descriptor:
        """Make the manifest of an image, once, even if the image is listed several times.

        Raises MissingBlobError, DigestMismatchError, ManifestError, UnsafePathError, LimitError.
        """
        key = (item.config, item.layers)
        known = self._made.get(key)
        if known is None:
            known = self._made[key] = self._manifest(item)
        return known

    def _manifest(self, item: Item) -> Descriptor:
        config = self._config(item.config)
        diff_ids = self.facts.config(config.digest, self._named(item.config)).diff_ids
        if len(diff_ids) != len(item.layers):
            why = f"has {len(diff_ids)} diff IDs, but manifest.json lists {len(item.layers)} layers for it"
            raise ManifestError(self._named(item.config), why)
        self.facts.work.visit(len(item.layers))
        layers = [self._layer(name, diff_id) for name, diff_id in zip(item.layers, diff_ids, strict=True)]
        document = Manifest.build(Descriptor(media_type.OCI_CONFIG, config.digest, config.size), layers)
        return Descriptor(media_type.OCI_MANIFEST, self._keep(document), len(document))

    def _config(self, name: str) -> _Config:
        """A config, read once, even if it is listed under several names."""
        member = self._members.resolve(name)
        known = self._configs.get(member)
        if known is None:
            raw = self._members.read(member, self._bounds)
            if raw is None:
                raise self.missing(f"config {shown(name)}")
            known = self._configs[member] = _Config(self._keep(raw), len(raw))
        announced = _digest_in(name)
        if announced is not None and known.digest != announced:
            raise DigestMismatchError(self._named(name), f"its content has the digest {known.digest}")
        return known

    def _named(self, member: str) -> str:
        return f"{self.what}: {shown(member)}"

    def _layer(self, name: str, diff_id: Digest) -> Descriptor:
        stored = self._stored.get(name)
        if stored is None:
            stored = self._stored[name] = self._look_at(name)
        if stored.compressed is None:
            descriptor = Descriptor(media_type.OCI_LAYER, diff_id, stored.size)
        else:
            descriptor = stored.compressed
        self._layers[descriptor.digest] = stored.member
        return descriptor

    def _look_at(self, name: str) -> _Stored:
        """The member that holds a layer, examined once."""
        member = self._members.resolve(name)
        blob = self._members.open(member)
        if blob is None:
            raise self.missing(f"layer {shown(name)}")
        compression = detect(blob.read(HEAD), blob.what)
        if compression is Compression.NONE:
            return _Stored(member, blob.length)
        descriptor = self._hashed.get(member) or _compressed(blob, compression)
        self._hashed[member] = descriptor
        return _Stored(member, blob.length, descriptor)

    def _keep(self, document: bytes) -> Digest:
        digest = Digest.of(document)
        self.facts.keep(digest, document)
        self._documents.add(digest)
        return digest


def _compressed(blob: Extent, compression: Compression) -> Descriptor:
    hasher = hashlib.sha256()
    blob.seek(0)
    while data := blob.read(CHUNK):
        hasher.update(data)
    # xz and bzip2 have no media type. Like every reader of these images, arstore looks at the content.
    kind = media_type.OCI_LAYERS.get(compression.value, media_type.OCI_LAYER)
    return Descriptor(kind, Digest.finished("sha256", hasher), blob.length)


def _valid(tags: Sequence[str]) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for text in tags:
        with suppress(InvalidReferenceError):
            names[str(parse_name(text))] = None
    return tuple(names)


def _digest_in(member: str) -> Digest | None:
    """The digest that a config's member name states: `<hex>.json`, `blobs/sha256/<hex>` or `sha256:<hex>`."""
    stem = member.rpartition("/")[2].removesuffix(".json").removeprefix("sha256:")
    return Digest(f"sha256:{stem}") if is_digest(f"sha256:{stem}") else None
