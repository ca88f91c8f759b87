"""`repair`: repair damage from the store itself, or from a source that the user names, and report what remains.

The order is: the graph, because everything else depends on it; blobs; then trees, which are made from blobs. Each step
replaces a damaged thing by an intact one, or leaves it. After a crash the next repair continues. Nothing is removed
without an intact replacement, with two exceptions: a blob that does not match its digest, so that it is no longer read
and the next import of its image brings it again; and clutter.
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
from arstore.maintenance.check.contents import remove_faults
from arstore.maintenance.check.findings import NO_GRAPH, Damage, Finding
from arstore.maintenance.check.graph_repair import complete_records, mend_records, rebuild_graph, restore_id, set_aside
from arstore.maintenance.check.quick import with_default_acls
from arstore.maintenance.check.run import check
from arstore.rootfs.mount import complete_runs
from arstore.store import volumes
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
    """Repair what can be repaired; fetch blobs from *sources* (as for `import`). Return *findings*, `repaired` if they
    are no longer found, and findings that appeared only once the graph was readable again.

    Raises the errors of the sources, InUseError if the graph has to be rebuilt while others use it, OSError and the
    errors of Graph.
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
        # Documents first: records are rebuilt from them.
        mend_blobs(store, [finding.what for finding in findings if finding.damage in _BLOBS], sources, limits)
        if records:
            mend_records(store, records)
        complete_records(store, [one.what for one in findings if one.damage is Damage.CONTAINER_UNRECORDED])
        before, findings = findings, check(store)
        there = {(finding.damage, finding.what) for finding in findings}
        done += [replace(one, repaired=True) for one in before if (one.damage, one.what) not in there]
    # Content that a lost graph may have known must not be removed before it has been reported.
    return [*done, *_repaired(store, findings, sources, limits, keep=is_new)]


def _regain_graph(store: Store, broken: list[Finding]) -> str:
    """Restore the store's graph; return how, as the end of a sentence. Raises the errors of `rebuild_graph`."""
    if all(finding.damage is Damage.STORE_ID for finding in broken) and restore_id(store):
        return "it was written again"
    aside = rebuild_graph(store)
    kept = f", and the old one is kept as {os.path.basename(aside)}" if aside else ""
    return f"the graph was rebuilt from index.json and blobs{kept}"


def _repaired(
    store: Store, findings: list[Finding], sources: Sequence[str], limits: Limits | None, keep: bool
) -> list[Finding]:
    """Repair everything except the graph; with *keep*, unrecorded content is not removed."""
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

        # Content that a damaged record may refer to is not clutter yet.
        with suppress(StoreDamagedError):
            collect(store, plan_clutter(store))
        reached("repair.collected")
    if any(finding.damage is Damage.PERMISSIONS for finding in findings):
        os.chmod(store.directories.root, 0o700)
        for path in with_default_acls(store.directories):
            remove_acls(path)
    remove_faults(store, findings)
    for finding in findings:
        if finding.damage is Damage.VOLUME_RECORD:
            volumes.mend(store.directories, finding.what)
    if not any(finding.damage in _RECORDS for finding in findings):
        for name in ("index.json", "oci-layout"):
            set_aside(store.directories, name)
        write_layout(store.directories, store.graph)
    left = {(finding.damage, finding.what) for finding in check(store, quick=True)}
    left |= {(Damage.TREE_ALTERED, key) for key in kept}
    return [_judged(store, finding, left, mended) for finding in findings]


def _judged(store: Store, finding: Finding, left: set[tuple[Damage, str]], mended: set[str]) -> Finding:
    """Return *finding* as it is after the repair; *left* are the findings that remain."""
    if finding.damage in _BLOBS:
        if finding.what in mended:
            return replace(finding, repaired=True)
        gone = "; its file was removed, import its image again" if finding.damage in _ALTERED else ""
        return replace(finding, why=f"{finding.why}{gone}{_consequence(store, finding.what)}")
    if finding.damage in _RECORDS:
        return finding
    if finding.damage is Damage.TREE_ALTERED and (finding.damage, finding.what) in left:
        return replace(finding, why=f"{finding.why}; it was kept, because there is no intact blob to rebuild it from")
    if finding.damage is Damage.LENT_ABSENT:
        return finding
    same = _TREES if finding.damage in _TREES else {finding.damage}
    return replace(finding, repaired=all((damage, finding.what) not in left for damage in same))


def _consequence(store: Store, digest: str) -> str:
    """Return what else the store has of a layer whose blob is lost."""
    with store.graph.read(lenient=True) as snapshot:
        layers = [layer for _, layer in snapshot.layers() if digest in layer.blobs]
        for layer in layers:
            others = [blob for blob in layer.blobs if blob != digest and _is_there(store, blob)]
            if others:
                return f"; the layer's content still exists in blob {others[0]}"
            tree = snapshot.tree(layer.tree) if layer.tree else None
            if tree is not None and properties(tree.form).keeps_tar:
                if digest == layer.diff_id:
                    return "; an uncompressed layer is stored once, so there is no second copy of it"
                return "; the layer's tar still exists, but the compressed bytes cannot be made from it"
    return ""


def _is_there(store: Store, digest: str) -> bool:
    return os.path.isfile(store.directories.blob(digest))


def _distrust(store: Store, keys: list[str]) -> set[str]:
    """Mark these trees untrusted, so that they are rebuilt at their next use. Return those that cannot be rebuilt; they
    keep their trust."""
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
    """Remove the files of these blobs, unless an import has replaced one by a good one in the meantime."""
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
    """Build every untrusted tree and merged index that an image needs, if possible."""
    with suppress(ArstoreError):
        for image in store.images():
            if not image.record.is_index:
                with suppress(ArstoreError, OSError):
                    if form := _form_to_keep(store, image):
                        store.take([store.incoming(image)], [], NoBlobs(), store.tree_forms(form))
                    complete_runs(store, image)


def _form_to_keep(store: Store, image: StoredImage) -> str:
    """Return the form for rebuilding the trees of *image*: extracted files, if all untrusted ones are extracted.

    "" means the form that is best here.
    """
    inventory = store.inventory()
    with store.graph.read() as snapshot:
        trees = {layer.tree: snapshot.tree(layer.tree) for _, layer in snapshot.chain(image.record.top)}
    forms = {record.form for key, record in trees.items() if record is not None and not inventory.is_trusted(key)}
    if len(forms) != 1:
        return ""
    form = forms.pop()
    return form if properties(form).extracts else ""
