"""Trace points: the named steps of everything that changes a store, reported to a listener.

There is no listener in production, and a call then costs one comparison. The test that kills arstore at every step
installs a listener in its own process before it calls the program; forked workers inherit it. There is no option and no
environment variable for it.

`POINTS` has every point by area, in the order in which a process passes them. Each describes the step that was just
done, and the consequence if the process dies there. The table in docs/design/crash-safety.md is generated from it. This
module imports no other, and every other may import it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Point(NamedTuple):
    """The step that was just done, and the consequence if the process dies there."""

    done: str
    then: str


_listener: Callable[[str], None] | None = None


def reached(name: str) -> None:
    """Report to the listener, if there is one, that this point is reached."""
    if _listener is not None:
        _listener(name)


def listen(listener: Callable[[str], None] | None) -> None:
    """Report the points that this process, and processes forked from now on, reach to *listener*; None stops it."""
    global _listener
    _listener = listener


_NOTHING = "nothing has happened"
_INGEST = "the ingest is a dead process's: the next import or `gc` takes it"
_ORPHANS = "the files in their places are unrecorded, and listed: the next import or `gc` takes them"
_DONE = "all is done"
_LAYOUT = "all is done but `index.json`, which the next change or `gc` writes"
_GARBAGE = "what was removed is unrecorded, and listed: the next import or `gc` takes its files"
_LISTED = "it is unrecorded, and listed: the next import or `gc` takes it"
_RUN = "the kernel ends all its processes and mounts; its record names a dead process: the next `run` or `gc` takes it"

_UNFINISHED = "there is no store yet: `import` or `load` finishes it"

STORE = {
    "store.directories-made": Point("a new store's directories are made", _UNFINISHED),
    "store.lock-file-reserved": Point("the graph's lock file has its size", "the next command goes on from there"),
    "store.graph-opened": Point("a new graph is there, without a format yet", _UNFINISHED),
    "store.graph-named": Point("the graph has its format and the store's id, durably", _UNFINISHED),
    "store.id-written": Point("the root's file with the id lies beside its place", f"{_UNFINISHED}; `gc` takes this"),
    "store.id-placed": Point("the file has its place, durably; blobs and containers come after it", _DONE),
    "store.change-committed": Point("a change is committed to the graph", "the next one is noted in the root's file"),
    "store.older-named": Point("the graph of an older store has an id, durably", "the next change goes on from there"),
    "store.home-made": Point("the file that tells a store from a copy is made", "the next command records it"),
    "store.spare-made": Point("the graph's spare file is there, still empty", "the next command goes on from there"),
    "store.spare-given-up": Point("`rm` or `gc` has deleted the spare file", "the next command makes it anew"),
}
INGEST = {
    "ingest.made": Point("a directory of one's own for what is in flight", _INGEST),
    "ingest.spool-made": Point("a file is made for what a stream brings out of turn", _INGEST),
    "ingest.places-noted": Point("the places that will hold something unrecorded are listed", _INGEST),
    "ingest.leaving": Point("the work is over, and the ingest is about to be deleted", _INGEST),
    "ingest.removed": Point("the ingest is deleted", _DONE),
}
LEFTOVERS = {
    "leftovers.claimed": Point("a dead process's ingest has become this process's", _INGEST),
    "leftovers.places-taken": Point("what it lists and the graph does not know has left its place", _INGEST),
    "leftovers.removed": Point("it is deleted", "the next import or `gc` takes the rest"),
}
TAKE = {
    "take.claimed": Point("the layers to be read are claimed", "the claim was a lock, and is gone with the process"),
    "take.blob-written": Point("a layer's blob is written and verified", _INGEST),
    "take.blob-synced": Point("a layer's blob is durable", _INGEST),
    "take.tree-built": Point("a layer's tree is built", _INGEST),
    "take.layer-verified": Point("a layer's diff ID is verified", _INGEST),
    "take.group-written": Point("all layers of a group are written, and not durable yet", _INGEST),
    "take.group-synced": Point("all blobs of a group are durable", _INGEST),
    "take.layers-read": Point("all layers are read, the workers have ended", _INGEST),
    "take.document-synced": Point("a manifest, config or index is durable", _INGEST),
    "take.all-synced": Point("of many files, all are durable at once", _INGEST),
    "take.cap-built": Point("a cap is built", _INGEST),
    "take.tree-adapted": Point("a tree is built for one chain alone", _INGEST),
    "take.run-merged": Point("a merged index is made", _INGEST),
    "take.prepared": Point("all that is to be published lies in the ingest", _INGEST),
}
PUBLISH = {
    "publish.announced": Point("trees to be replaced have lost their trust", "they are built at their next use"),
    "publish.verified": Point("what is reused is still there, and cannot go any more", _INGEST),
    "publish.tree-exchanged": Point("a tree and its replacement have exchanged names", "it is built at its next use"),
    "publish.tree-placed": Point("a tree has its place", _ORPHANS),
    "publish.run-dropped": Point("a merged index over a replaced tree is taken away", "it is made at its next use"),
    "publish.blob-placed": Point("a blob has its place", _ORPHANS),
    "publish.directories-synced": Point("the names of the blobs are durable", _ORPHANS),
    "publish.recorded": Point("all records are written, and not committed yet", _ORPHANS),
    "publish.failed": Point("the transaction was given up, nothing is taken back yet", _ORPHANS),
    "publish.taken-back": Point("what had its place is back in the ingest", _INGEST),
}
LAYOUT = {
    "layout.written": Point("the new `index.json` lies beside the old one", "the change is undone; `gc` takes this"),
    "layout.committed": Point("the graph is committed", f"{_LAYOUT}; `gc` takes the new one"),
    "layout.placed": Point("`index.json` has its place", _DONE),
    "layout.replacing": Point("a new `index.json` lies beside the old one", f"{_LAYOUT}; `gc` takes this"),
    "layout.replaced": Point("it has its place", _DONE),
}
REMOVE = {
    "remove.planned": Point("`rm` knows what goes with what it removes", _NOTHING),
    "remove.recorded": Point("`rm` has deleted the records", _GARBAGE),
    "remove.file-moved": Point("a file has left its place for the ingest", f"{_GARBAGE}; {_INGEST}"),
    "remove.files-moved": Point("all files have left their places", _INGEST),
}
COLLECT = {
    "collect.planned": Point("`gc` knows what nothing holds", _NOTHING),
    "collect.mounts-pruned": Point("records of mounts that are gone are taken away", "the next `gc` takes the rest"),
    "collect.containers-removed": Point("containers of dead processes are gone", "the next `gc` takes the rest"),
    "collect.marked": Point("`gc` has marked what is held", "the next `gc` takes the rest"),
    "collect.recorded": Point("`gc` has deleted the records, and the leases of dead processes", _GARBAGE),
    "collect.hints-dropped": Point("hints of what is gone are deleted", _GARBAGE),
    "collect.orphan-moved": Point("an unrecorded file has left its place", _INGEST),
    "collect.ingest-removed": Point("a dead process's ingest is deleted", "the next `gc` takes the rest"),
    "collect.synced": Point("all trees are durable, their records do not say so yet", "the next `gc` says so"),
    "collect.settled": Point("the records say so", _DONE),
}
LEASE = {
    "lease.taken": Point("a lease is recorded", "it names a dead process, and holds nothing: `gc` takes it"),
    "lease.returned": Point("its record is deleted", _DONE),
}
CONTAINER = {
    "container.staged": Point("its directories are made in an ingest", _INGEST),
    "container.placed": Point("its directory has its place", _LISTED),
    "container.recorded": Point("its record is committed", "it names its process: `gc` or the next `run` takes it"),
    "container.kept": Point("it is mounted or started, and recorded as one to stay", "it is there, and can be used"),
    "container.forgotten": Point("its record is deleted, its directory is not", _LISTED),
    "container.moved": Point("its directory has left its place", _INGEST),
}
MOUNT = {
    "mount.recorded": Point("a mount is recorded, and not made yet", "the record is stale: `gc` takes it"),
    "mount.target-made": Point("the directory to mount on is made", "the record is stale: `gc` takes both"),
    "mount.mounted": Point("it is mounted", "it is there, and listed: `umount` ends it; `gc`, if a new container's"),
    "mount.unmounted": Point("it is unmounted, and still recorded", "the record is stale: `gc` takes it"),
    "mount.target-removed": Point("the directory is removed", "the record is stale: `gc` takes it"),
    "mount.forgotten": Point("the record is removed", _DONE),
}
COMMIT = {
    "commit.layer-written": Point("the container's changes are a blob in an ingest", _INGEST),
}
RUN = {
    "run.abandoned-removed": Point("containers of dead processes are removed", _NOTHING),
    "run.created": Point("the container is made", _RUN),
    "run.mounted": Point("its root file system is a mount that has no place", _RUN),
    "run.starting": Point("`state.json` says who keeps it", _RUN),
    "run.rootfs-placed": Point("the keeper has put the mount in its place, in its own namespace", _RUN),
    "run.prepared": Point("the bundle is written", _RUN),
    "run.started": Point("the container runs", _RUN),
    "run.exited": Point("its process has ended", _RUN),
    "run.ended": Point("all its processes have ended, its control groups are removed", _RUN),
    "run.told": Point("`state.json` says how it ended", _RUN),
}
LOAD = {
    "load.imported": Point("the pipeline image is imported", "it is there; the next `load` runs it"),
    "load.directories-made": Point("the directories to hand over images are made", "the next `load` uses them"),
    "load.set-aside": Point("what a failed run had left lies in `failed`", "it stays there; the next `load` runs it"),
    "load.running": Point("`.last` says that it runs", "the next `load` sets aside what it left, and runs it again"),
    "load.ran": Point("it has ended well, and `.last` says so", "the next `load` imports what it left"),
    "load.gathered": Point("what it left lies in `.taken`", "the next `load` puts it back, and imports it"),
    "load.image-taken": Point("one of the images is imported", "the next `load` does the rest"),
    "load.clearing": Point("all are imported, the directory is still full", "the next `load` empties it"),
    "load.cleared": Point("the directory is empty", _DONE),
}
REPAIR = {
    "repair.graph-made": Point("a new graph lies in an ingest, durable", _INGEST),
    "repair.graph-kept": Point("the damaged graph has a second name, to be kept by", "`check --repair` starts again"),
    "repair.graph-replaced": Point("the new graph has taken its place", "`check --repair` goes on from there"),
    "repair.records-mended": Point("single records are mended", "`check --repair` goes on from there"),
    "repair.records-completed": Point("records that images lacked are made", "`check --repair` goes on from there"),
    "repair.blob-copied": Point("a good copy of a bad blob lies in an ingest, durable", _INGEST),
    "repair.blob-placed": Point("a good blob has taken a bad one's place", "`check --repair` does the rest"),
    "repair.blobs-taken": Point("altered blobs are taken away", "they count as missing, as before they counted as bad"),
    "repair.distrusted": Point("altered trees have lost their trust", "they are built at their next use"),
    "repair.rebuilt": Point("trees are built anew", "`check --repair` goes on from there"),
    "repair.collected": Point("what killed processes have left is gone", "`check --repair` goes on from there"),
}

AREAS: dict[str, dict[str, Point]] = {
    "A new store": STORE,
    "What is in flight": INGEST,
    "What dead processes left": LEFTOVERS,
    "Taking images in": TAKE,
    "Publication": PUBLISH,
    "`index.json`": LAYOUT,
    "Removal": REMOVE,
    "Collection": COLLECT,
    "Leases": LEASE,
    "Containers": CONTAINER,
    "Mounts": MOUNT,
    "Commit": COMMIT,
    "Running a container": RUN,
    "Load": LOAD,
    "Repair": REPAIR,
}
POINTS: dict[str, Point] = {name: point for points in AREAS.values() for name, point in points.items()}
