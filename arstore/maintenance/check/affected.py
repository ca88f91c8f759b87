"""Which images damage hits: those that need what a finding is about, and the indexes that list these.

Where the graph can be read it tells that. Where it is lost or damaged, index.json and the manifests tell it of blobs.
Not in scope: what the damage does to an image (a lost blob keeps no mounted tree from being used).
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
"""What the names of kinds of damage begin with that are about a record of such a table."""


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
    """The images that each of *findings* hits, by digest; findings that hit none are left out.

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
    """What index.json lists, and the manifests that are there say."""
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
    """What images need, as keys `table/key`; and who needs what findings are about."""

    def __init__(
        self,
        images: Mapping[str, ImageFields],
        names: Mapping[str, list[str]],
        layers: Mapping[str, _Layer],
        runs: Mapping[str, tuple[str, ...]],
        attached: Mapping[str, tuple[str, ...]],
        lent: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """*lent* are the places of the additional stores that blobs lie in."""
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
        """The images that each finding hits."""
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
        """What a finding is about, as `table/key`; "" for what no image needs."""
        if finding.damage in {Damage.RECORD_DAMAGED, Damage.RECORD_WRONG}:
            return finding.what if finding.what.partition("/")[0].removesuffix("s") in _TABLES else ""
        if finding.damage is Damage.LENT_ABSENT:
            return f"lent/{finding.what}"
        if finding.damage is Damage.NAME_IMAGE:
            return next((f"images/{digest}" for digest, own in self._names.items() if finding.what in own), "")
        kind = finding.damage.value.partition("-")[0]
        return f"{kind}s/{finding.what}" if kind in _TABLES else ""

    def _needed(self, digest: str) -> set[str]:
        """What is wanted of all that this image needs."""
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
        """The attachments of an image, directly or not, and the blobs of all of them."""
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
        """What is wanted of the layers from *top* down, and of their trees, as far as they are known."""
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
        """Add the indexes that list one of these images, and those that list these."""
        while more := {
            digest
            for digest, image in self._images.items()
            if image.manifests and digest not in digests and not digests.isdisjoint(image.manifests)
        }:
            digests |= more
