"""`repair`: mend what the store itself, or a source that the user names, can mend, and say what stays.

The order: the graph, because nothing can be told without it; blobs; then trees, which are made from blobs. Each step
puts a whole thing in the place of a damaged one, or leaves it: whatever dies on the way, the next repair goes on.
Nothing is taken away that something intact could not replace, but for two things: a blob that is not what its name
says, so that nobody reads it and the next import of its image brings it again; and clutter.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from arstore.disk.staging import Ingest
from arstore.errors import ArstoreError, StoreDamagedError
from arstore.linux.files.xattr import remove_acls
from arstore.maintenance.check.blob_repair import mend_blobs
from arstore.maintenance.check.blobs import blobs
from arstore.maintenance.check.findings import NO_GRAPH, Damage, Finding
from arstore.maintenance.check.graph_repair import complete_records, mend_records, rebuild_graph, restore_id, set_aside
from arstore.maintenance.check.quick import with_default_acls
from arstore.maintenance.check.run import check
from arstore.rootfs.mount import complete_runs
from arstore.store.ingest.incoming import NoBlobs
from arstore.store.layout import write_layout
from arstore.trace import reached
from arstore.trees.forms import properties

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.store.store import Store, StoredImage
    from arstore.tar.limits import Limits

_BLOBS = frozenset({Damage.BLOB_MISSING, Damage.BLOB_SIZE, Damage.BLOB_DIGEST})
_ALTERED = frozenset({Damage.BLOB_SIZE, Damage.BLOB_DIGEST})
_RECORDS = frozenset({Damage.RECORD_DAMAGED, Damage.RECORD_WRONG})
_GAPS = frozenset(
    {
        Damage.LAYER_PARENT,
        Damage.LAYER_BLOB,
        Damage.IMAGE_BLOB,
        Damage.IMAGE_LAYER,
        Damage.ATTACHMENT_BLOB,
        Damage.NAME_IMAGE,
        Damage.CONTAINER_IMAGE,
        Damage.CONTAINER_UNRECORDED,
    }
)
_DISTRUSTED = frozenset({Damage.TREE_ALTERED, Damage.TREE_UNRECORDED})
_TREES = frozenset({Damage.TREE_MISSING, Damage.TREE_UNTRUSTED}) | _DISTRUSTED
_LOST = frozenset({Damage.GRAPH_LOST, Damage.STORE_ID})
_CLUTTER = frozenset({Damage.ORPHAN, Damage.STALE_INGEST, Damage.STALE_MOUNT})


def repair(
    store: Store, findings: list[Finding], sources: Sequence[str] = (), limits: Limits | None = None
) -> list[Finding]:
    """Mend what can be mended, with *sources* (what `import` takes) to bring blobs from; *findings*, `repaired` where
    they are not found any more, and what was only seen once the graph was readable again.

    Raises the errors of the sources, InUseError when the graph has to be made anew while others use it, OSError and
    the errors of Graph.
    """
    done: list[Finding] = []
    broken = [finding for finding in findings if finding.damage in NO_GRAPH]
    if broken:
        how = _regain_graph(store, broken)
        findings = check(store)
        is_mended = not any(finding.damage in NO_GRAPH for finding in findings)
        done = [replace(finding, why=f"{finding.why}; {how}", repaired=is_mended) for finding in broken]
    is_new = any(finding.damage in _LOST for finding in broken)
    records = [finding.what for finding in findings if finding.damage in _RECORDS]
    if records or any(finding.damage in _GAPS for finding in findings):
        # Documents are what records are made again from: they come first.
        mend_blobs(store, [finding.what for finding in findings if finding.damage in _BLOBS], sources, limits)
        if records:
            mend_records(store, records)
        complete_records(store, [one.what for one in findings if one.damage is Damage.CONTAINER_UNRECORDED])
        before, findings = findings, check(store)
        there = {(finding.damage, finding.what) for finding in findings}
        done += [replace(one, repaired=True) for one in before if (one.damage, one.what) not in there]
    # What a graph that was lost may have known must not go before somebody was told of it.
    return [*done, *_repaired(store, findings, sources, limits, keep=is_new)]


def _regain_graph(store: Store, broken: list[Finding]) -> str:
    """Have a graph that is this store's; how, as the end of a sentence. Raises as `rebuild_graph`."""
    if all(finding.damage is Damage.STORE_ID for finding in broken) and restore_id(store):
        return "it was written again"
    aside = rebuild_graph(store)
    kept = f", and the old one is kept as {os.path.basename(aside)}" if aside else ""
    return f"the graph was made again from index.json and blobs{kept}"


def _repaired(
    store: Store, findings: list[Finding], sources: Sequence[str], limits: Limits | None, keep: bool
) -> list[Finding]:
    """Everything but the graph; with *keep*, nothing that has no record is removed."""
    damaged = [finding.what for finding in findings if finding.damage in _BLOBS]
    mended = mend_blobs(store, damaged, sources, limits) if damaged else set()
    _take_altered_blobs(store, [f.what for f in findings if f.damage in _ALTERED and f.what not in mended])
    reached("repair.blobs-taken")
    kept = _distrust(store, [finding.what for finding in findings if finding.damage in _DISTRUSTED])
    reached("repair.distrusted")
    if any(finding.damage in _TREES for finding in findings):
        _rebuild_trees(store)
        reached("repair.rebuilt")
    if any(finding.damage in _CLUTTER for finding in findings) and not keep:
        from arstore.maintenance.gc import collect, plan_clutter

        # What a damaged record that stays may speak of is no clutter yet.
        with suppress(StoreDamagedError):
            collect(store, plan_clutter(store))
        reached("repair.collected")
    if any(finding.damage is Damage.PERMISSIONS for finding in findings):
        os.chmod(store.directories.root, 0o700)
        for path in with_default_acls(store.directories):
            remove_acls(path)
    if not any(finding.damage in _RECORDS for finding in findings):
        for name in ("index.json", "oci-layout"):
            set_aside(store.directories, name)
        write_layout(store.directories, store.graph)
    left = {(finding.damage, finding.what) for finding in check(store, quick=True)}
    left |= {(Damage.TREE_ALTERED, key) for key in kept}
    return [_judged(store, finding, left, mended) for finding in findings]


def _judged(store: Store, finding: Finding, left: set[tuple[Damage, str]], mended: set[str]) -> Finding:
    """*finding* after the repair, which leaves *left* to be found."""
    if finding.damage in _BLOBS:
        if finding.what in mended:
            return replace(finding, repaired=True)
        gone = "; its file was taken away, import its image again" if finding.damage in _ALTERED else ""
        return replace(finding, why=f"{finding.why}{gone}{_consequence(store, finding.what)}")
    if finding.damage in _RECORDS:
        return finding
    if finding.damage is Damage.TREE_ALTERED and (finding.damage, finding.what) in left:
        return replace(finding, why=f"{finding.why}; it stays, because no intact blob is there to make it from")
    if finding.damage is Damage.LENT_ABSENT:
        return finding
    same = _TREES if finding.damage in _TREES else {finding.damage}
    return replace(finding, repaired=all((damage, finding.what) not in left for damage in same))


def _consequence(store: Store, digest: str) -> str:
    """What else the store has of a layer whose blob is lost."""
    with store.graph.read(lenient=True) as snapshot:
        layers = [layer for _, layer in snapshot.layers() if digest in layer.blobs]
        for layer in layers:
            others = [blob for blob in layer.blobs if blob != digest and _is_there(store, blob)]
            if others:
                return f"; the layer's content is still there in blob {others[0]}"
            tree = snapshot.tree(layer.tree) if layer.tree else None
            if tree is not None and properties(tree.form).keeps_tar:
                return "; the layer's tar is still there, which does not give the compressed bytes back"
    return ""


def _is_there(store: Store, digest: str) -> bool:
    return os.path.isfile(store.directories.blob(digest))


def _distrust(store: Store, keys: list[str]) -> set[str]:
    """Have these trees built again at their next use, which `_rebuild_trees` is; those that nothing is left to build
    from keep what trust they have, and are returned."""
    kept: set[str] = set()
    if not keys:
        return kept
    with store.graph.write(lenient=True) as change:
        sources: dict[str, list[str]] = {}
        for _, layer in change.layers():
            sources.setdefault(layer.tree, []).extend(layer.blobs)
        for key in keys:
            record = change.tree(key)
            if record is None:
                continue
            if key in sources and not any(_is_there(store, blob) for blob in sources[key]):
                kept.add(key)
            else:
                change.put_tree(key, record._replace(boot="", synced=False))
    return kept


def _take_altered_blobs(store: Store, digests: list[str]) -> None:
    """Remove the files of these blobs; whoever imports one at this moment brings a good one, which stays."""
    altered: dict[str, tuple[int, int] | None] = {}
    for digest in digests:
        identity = _file_identity(store.directories.blob(digest))
        with store.graph.read(lenient=True) as snapshot:
            record = snapshot.blob(digest)
        if record is not None and any(blobs(store.directories, [(digest, record)], lambda _count: None)):
            altered[digest] = identity
    if not altered:
        return
    with Ingest(store.directories) as ingest, store.graph.write():
        for number, (digest, identity) in enumerate(altered.items()):
            path = store.directories.blob(digest)
            if identity is not None and _file_identity(path) == identity:
                ingest.take(path, f"altered-{number}")


def _file_identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def _rebuild_trees(store: Store) -> None:
    """Build every tree and merged index that an image needs and that cannot be relied on, as far as possible."""
    with suppress(ArstoreError):
        for image in store.images():
            if not image.record.is_index:
                with suppress(ArstoreError, OSError):
                    if form := _form_to_keep(store, image):
                        store.take([store.incoming(image)], [], NoBlobs(), store.tree_forms(form))
                    complete_runs(store, image)


def _form_to_keep(store: Store, image: StoredImage) -> str:
    """The form in which the trees of *image* are built again: extracted files stay so where all of these were.

    "" for the form that is best here.
    """
    inventory = store.inventory()
    with store.graph.read() as snapshot:
        trees = {layer.tree: snapshot.tree(layer.tree) for _, layer in snapshot.chain(image.record.top)}
    forms = {record.form for key, record in trees.items() if record is not None and not inventory.is_trusted(key)}
    if len(forms) != 1:
        return ""
    form = forms.pop()
    return form if properties(form).extracts else ""
