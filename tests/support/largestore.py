"""Large stores, made quickly: every image, layer and tree is genuine, but small, and is written directly in place.

A layer is a tar with one file of 32 unique bytes, and is its blob too; its tree is that tar and an index. The indexes
of all layers are the same bytes, because only the tars differ. Images have some layers of one of a few bases, and some
unique layers, as builds of many projects have; so each has a merged index besides. All of that can be mounted, and
passes a deep check.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from typing import TYPE_CHECKING, NamedTuple

from support import images

from arstore.digest import Digest
from arstore.graph.records import RULES, BlobRecord, ImageRecord, LayerRecord, TreeRecord
from arstore.linux.process import boot_id
from arstore.mounts.merge_plan import Run, plan
from arstore.oci.chain import chain_ids
from arstore.store.layout import write_layout
from arstore.tar.reader import TarReader
from arstore.trees.erofs.form import ErofsFormat
from arstore.trees.erofs.merged_index import build
from arstore.trees.forms import MERGED

if TYPE_CHECKING:
    from pathlib import Path

    from arstore.store.store import Store

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_CONTENT = 32
_BATCH = 500
_CREATED = "2026-01-01T00:00:00Z"


class Shape(NamedTuple):
    """The number of images, of *own* layers of each over how many of a base, and of bases.

    Of the own layers, the builds of a project (ten images) have *common* ones with the same content, over different
    parents.
    """

    images: int
    own: int = 10
    base: int = 2
    bases: int = 20
    common: int = 0

    @property
    def layers(self) -> int:
        """All layers."""
        return self.images * self.own + min(self.bases, self.images) * self.base


class _Layer(NamedTuple):
    digest: str
    size: int


def fill(store: Store, shape: Shape, scratch: Path) -> None:
    """Make the images of *shape* in the empty *store*: `project-7/app:3`, and so on. *scratch* is a work directory."""
    store.graph.verify()
    _Maker(store, scratch).make(shape)


class _Maker:
    def __init__(self, store: Store, scratch: Path) -> None:
        self._store = store
        self._boot = boot_id()
        self._tar, self._content = _template()
        self._index = _index(self._tar, scratch)
        self._layers: dict[str, _Layer] = {}
        self._new: list[str] = []
        self._runs: dict[str, tuple[Run, TreeRecord]] = {}

    def make(self, shape: Shape) -> None:
        for start in range(0, shape.images, _BATCH):
            made = [self._image(shape, number) for number in range(start, min(start + _BATCH, shape.images))]
            with self._store.graph.write() as change:
                for name in self._new:
                    layer = self._layers[name]
                    change.put_blob(layer.digest, BlobRecord(layer.size, layer.digest, layer.size))
                    change.put_tree(layer.digest, self._tree())
                for key, (_, record) in self._runs.items():
                    change.put_tree(key, record)
                for layers, documents, (digest, image), name in made:
                    for document, size in documents:
                        change.put_blob(document, BlobRecord(size))
                    chain = chain_ids([Digest(layer.digest) for layer in layers])
                    parent = ""
                    for layer, chain_id in zip(layers, chain, strict=True):
                        change.put_layer(
                            chain_id, LayerRecord(layer.digest, parent, (layer.digest,), layer.size, layer.digest)
                        )
                        parent = chain_id
                    change.put_image(digest, image)
                    change.put_name(name, digest)
            self._new.clear()
            self._runs.clear()
        write_layout(self._store.directories, self._store.graph)

    def _image(
        self, shape: Shape, number: int
    ) -> tuple[list[_Layer], list[tuple[str, int]], tuple[str, ImageRecord], str]:
        base, project = number % shape.bases, number // 10
        layers = [self._layer(f"base {base} {step}") for step in range(shape.base)]
        layers += [
            self._layer(f"project {project} {step}" if step < shape.common else f"image {number} {step}")
            for step in range(shape.own)
        ]
        diff_ids = [layer.digest for layer in layers]
        config = {
            "architecture": "amd64",
            "os": "linux",
            "created": _CREATED,
            "config": {"Labels": {"number": str(number)}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
        config_data = json.dumps(config).encode()
        config_digest = self._blob(config_data)
        described = [{"mediaType": _LAYER, "digest": layer.digest, "size": layer.size} for layer in layers]
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": {"mediaType": _CONFIG, "digest": config_digest, "size": len(config_data)},
            "layers": described,
        }
        data = json.dumps(manifest).encode()
        digest = self._blob(data)
        self._merge(diff_ids)
        record = ImageRecord(
            media_type=_MANIFEST,
            size=len(data) + len(config_data) + sum(layer.size for layer in layers),
            platform="linux/amd64",
            created=_CREATED,
            imported=time.time(),
            config=config_digest,
            layers=tuple(diff_ids),
            top=chain_ids([Digest(one) for one in diff_ids])[-1],
            cap="",
        )
        documents = [(config_digest, len(config_data)), (digest, len(data))]
        return layers, documents, (digest, record), f"project-{project}/app:{number % 10}"

    def _tree(self) -> TreeRecord:
        return TreeRecord("erofs", self._boot, True, 2, _CONTENT, False, sums=(RULES,))

    def _layer(self, name: str) -> _Layer:
        if name not in self._layers:
            content = hashlib.sha256(name.encode()).digest()
            tar = self._tar[: self._content] + content + self._tar[self._content + _CONTENT :]
            digest = self._blob(tar)
            place = self._store.directories.tree(digest)
            os.mkdir(place, 0o700)
            _write(f"{place}/layer.tar", tar)
            _write(f"{place}/layer.erofs", self._index)
            self._layers[name] = _Layer(digest, len(tar))
            self._new.append(name)
        return self._layers[name]

    def _merge(self, diff_ids: list[str]) -> None:
        """Make the merged index that an import would make for a mount of the image."""
        for part in plan([(diff_id, self._tree()) for diff_id in reversed(diff_ids)]):
            if isinstance(part, Run):
                place = self._store.directories.tree(part.key)
                os.mkdir(place, 0o700)
                stat = build(part.members, self._store.directories.tree, place)
                record = TreeRecord(MERGED.name, self._boot, True, stat.entries, stat.size, False, part.members)
                self._runs[part.key] = (part, record)

    def _blob(self, data: bytes) -> str:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        _write(self._store.directories.blob(digest), data)
        return digest


def _template() -> tuple[bytes, int]:
    """A tar, and the offset in it of the content that differs in each layer."""
    marker = b"?" * _CONTENT
    tar = images.tar([images.directory("./"), images.file("file", marker)])
    return tar, tar.index(marker)


def _index(tar: bytes, scratch: Path) -> bytes:
    place = scratch / "template"
    place.mkdir()
    (place / "layer.tar").write_bytes(tar)
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        builder = ErofsFormat().builder(fd)
        with open(place / "layer.tar", "rb") as file:
            reader = TarReader(file)
            for entry in reader:
                builder.add(entry, reader)
        builder.finish()
        builder.close()
    finally:
        os.close(fd)
    return (place / "layer.erofs").read_bytes()


def _write(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)
