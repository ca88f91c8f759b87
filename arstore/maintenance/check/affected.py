"""The images that damage affects: those that need the damaged thing, and the indexes that list them.

If the graph can be read, it has the answer. If it is lost or damaged, index.json and the manifests have it for blobs.
Not in scope: the consequences for an image (for example, a mounted tree can be used even if its blob is lost).
"""

from __future__ import annotations

from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING

from arstore.errors import ArstoreError
from arstore.graph.loss import listed, listed_attachments
from arstore.maintenance.check.findings import NO_GRAPH, Damage
from arstore.maintenance.check.rebuild_records import document
from arstore.oci.attachment import blobs_of
from arstore.oci.document import STORED
from arstore.oci.index import Index
from arstore.oci.manifest import Manifest
from arstore.store.collect.reachability import ImageFields
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from arstore.disk.paths import Directories
    from arstore.graph.snapshot import Snapshot
    from arstore.maintenance.check.findings import Finding
    from arstore.store.store import Store

_TABLES = ("blob", "tree", "layer", "image", "attachment")
"""Prefixes of those kinds of damage that are about a record of one of these tables."""


class HitImage(NamedTuple):
    """An image or an index that needs something damaged, with its names."""

    digest: str
    names: tuple[str, ...]


class _Layer(NamedTuple):
    parent: str
    tree: str


class _Tree(NamedTuple):
    members: tuple[str, ...]


class _Attachment(NamedTuple):
    blobs: tuple[str, ...]


def affected(store: Store, findings: Iterable[Finding]) -> dict[Finding, tuple[HitImage, ...]]:
    """Return the images that each of *findings* affects, by digest; findings that affect none are left out.

    Raises OSError and the errors of Graph.
    """
    found = list(findings)
    if not found:
        return {}
    if any(finding.damage in NO_GRAPH and not finding.repaired for finding in found):
        return _as_listed(store.directories).of(found)
    with store.graph.read(lenient=True) as snapshot:
        return _recorded(snapshot, found).of(found)


def _recorded(snapshot: Snapshot, findings: Iterable[Finding]) -> _Images:
    trees = {finding.what.removeprefix("trees/") for finding in findings}
    runs = {key: tree.members for key, tree in snapshot.every("trees", _Tree).items() if tree.members and key in trees}
    names = snapshot.names_by_digest()
    attached = {key: one.blobs for key, one in snapshot.every("attachments", _Attachment).items()}
    lent = {digest: record.place for digest, record in snapshot.all_lent()}
    images, layers = snapshot.every("images", ImageFields), snapshot.every("layers", _Layer)
    return _Images(images, names, layers, runs, attached, lent)


def _as_listed(directories: Directories) -> _Images:
    """Return what index.json and the existing manifests list."""
    names = listed(directories)
    images: dict[str, ImageFields] = {}
    todo = list(names)
    while todo:
        digest = todo.pop()
        if digest in images:
            continue
        images[digest] = ImageFields("", (), "", None, ())
        with suppress(ArstoreError, OSError):
            raw = document(directories, digest)
            with suppress(ArstoreError):
                manifest = Manifest.parse(raw, digest, bounds=STORED)
                layers = tuple(str(layer.digest) for layer in manifest.layers)
                images[digest] = ImageFields(str(manifest.config.digest), layers, "", None, ())
                continue
            members = tuple(str(one.digest) for one in Index.parse(raw, digest, bounds=STORED).manifests)
            images[digest] = ImageFields("", (), "", None, members)
            todo += members
    attached: dict[str, tuple[str, ...]] = {}
    for subject, digest, _ in listed_attachments(directories):
        blobs: tuple[str, ...] = ()
        with suppress(ArstoreError, OSError):
            manifest = Manifest.parse(document(directories, digest), digest, bounds=STORED)
            blobs = tuple(str(blob.digest) for blob in blobs_of(manifest))
        attached[f"{subject}/{digest}"] = blobs
    return _Images(images, names, {}, {}, attached)


class _Images:
    """The needs of images, as keys `table/key`, and the images that need the things in findings."""

    def __init__(
        self,
        images: Mapping[str, ImageFields],
        names: Mapping[str, list[str]],
        layers: Mapping[str, _Layer],
        runs: Mapping[str, tuple[str, ...]],
        attached: Mapping[str, tuple[str, ...]],
        lent: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """*lent* are the places of the additional stores of lent blobs, by digest."""
        self._lent = lent
        self._images = images
        self._names = names
        self._layers = layers
        self._runs = runs
        self._attached: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
        for key, blobs in attached.items():
            subject, _, digest = key.partition("/")
            self._attached.setdefault(subject, []).append((digest, blobs))
        self._wanted: frozenset[str] = frozenset()
        self._chains: dict[str, frozenset[str]] = {"": frozenset()}

    def of(self, findings: list[Finding]) -> dict[Finding, tuple[HitImage, ...]]:
        """Return the images that each finding affects."""
        keys = {finding: self._key(finding) for finding in findings}
        self._wanted = frozenset(filter(None, keys.values()))
        hits: dict[str, set[str]] = {key: set() for key in self._wanted}
        for digest in self._images:
            for key in self._needed(digest):
                hits[key].add(digest)
        for key, digests in hits.items():
            table, _, name = key.partition("/")
            if table == "images":
                digests.add(name)
            self._add_indexes(digests)
        found = {finding: sorted(hits[key]) for finding, key in keys.items() if key and hits[key]}
        return {
            finding: tuple(HitImage(digest, tuple(self._names.get(digest, ()))) for digest in digests)
            for finding, digests in found.items()
        }

    def _key(self, finding: Finding) -> str:
        """Return the thing that a finding is about, as `table/key`; "" if images do not need it."""
        if finding.damage in {Damage.RECORD_DAMAGED, Damage.RECORD_WRONG}:
            return finding.what if finding.what.partition("/")[0].removesuffix("s") in _TABLES else ""
        if finding.damage is Damage.LENT_ABSENT:
            return f"lent/{finding.what}"
        if finding.damage is Damage.NAME_IMAGE:
            return next((f"images/{digest}" for digest, own in self._names.items() if finding.what in own), "")
        kind = finding.damage.value.partition("-")[0]
        return f"{kind}s/{finding.what}" if kind in _TABLES else ""

    def _needed(self, digest: str) -> set[str]:
        """Return those of the wanted keys that this image needs."""
        image = self._images[digest]
        keys = [f"images/{digest}", *(f"blobs/{blob}" for blob in (digest, image.config, *image.layers))]
        keys.append(f"trees/{image.cap}")
        keys += self._keys_attached(digest)
        keys += [f"lent/{self._lent[blob]}" for blob in image.layers if blob in self._lent]
        found = self._wanted.intersection(keys) | self._chain(image.top)
        if self._runs and image.top:
            stack = {image.cap, *self._stack(image.top)}
            found |= {f"trees/{key}" for key, members in self._runs.items() if stack.issuperset(members)}
        return set(found)

    def _keys_attached(self, digest: str) -> list[str]:
        """Return the keys of an image's attachments, direct or not, and of all their blobs."""
        keys: list[str] = []
        todo, seen = [digest], {digest}
        while todo:
            subject = todo.pop()
            for manifest, blobs in self._attached.get(subject, ()):
                keys += (f"attachments/{subject}/{manifest}", *(f"blobs/{blob}" for blob in (manifest, *blobs)))
                if manifest not in seen:
                    seen.add(manifest)
                    todo.append(manifest)
        return keys

    def _chain(self, top: str) -> frozenset[str]:
        """Return those of the wanted keys that are layers from *top* down, or their trees, as far as recorded."""
        path: list[str] = []
        while top not in self._chains and top not in path:
            path.append(top)
            layer = self._layers.get(top)
            top = layer.parent if layer is not None else ""
        below = self._chains.get(top, frozenset())
        for chain_id in reversed(path):
            layer = self._layers.get(chain_id)
            own = {f"layers/{chain_id}", *([f"trees/{layer.tree}"] if layer is not None else [])}
            below = self._chains[chain_id] = below | self._wanted.intersection(own)
        return below

    def _stack(self, top: str) -> list[str]:
        trees: list[str] = []
        seen = set()
        while top not in seen and (layer := self._layers.get(top)) is not None:
            seen.add(top)
            trees.append(layer.tree)
            top = layer.parent
        return trees

    def _add_indexes(self, digests: set[str]) -> None:
        """Add the indexes that list one of these images, and in turn the indexes that list those."""
        while more := {
            digest
            for digest, image in self._images.items()
            if image.manifests and digest not in digests and not digests.isdisjoint(image.manifests)
        }:
            digests |= more
