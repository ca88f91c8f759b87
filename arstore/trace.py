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


_NOTHING = "nothing has changed"
_INGEST = "the ingest belongs to a dead process: the next import or `gc` deletes it"
_ORPHANS = "the files in their places are unrecorded, but listed: the next import or `gc` deletes them"
_DONE = "the work is complete"
_LAYOUT = "all is done except `index.json`, which the next change or `gc` writes"
_GARBAGE = "the removed files are unrecorded, but listed: the next import or `gc` deletes them"
_LISTED = "it is unrecorded, but listed: the next import or `gc` deletes it"
_RUN = "the kernel ends its processes and mounts; its owner is dead, so the next `run` or `gc` removes the container"

_UNFINISHED = "there is no store yet: the next `import` or `load` completes it"

STORE = {
    "store.directories-made": Point("the directories of a new store are made", _UNFINISHED),
    "store.lock-file-reserved": Point("the graph's lock file has its full size", "the next command continues"),
    "store.graph-opened": Point("a new graph exists, without a format yet", _UNFINISHED),
    "store.graph-named": Point("the graph has its format and the store's id, durably", _UNFINISHED),
    "store.id-written": Point("the store's id is in a temporary file", f"{_UNFINISHED}; `gc` deletes the file"),
    "store.id-placed": Point("the file is in place, durably; blobs and containers come after it", _DONE),
    "store.change-committed": Point("a change is committed to the graph", "the next change updates the store's file"),
    "store.older-named": Point("the graph of an older store has an id, durably", "the next change continues"),
    "store.home-made": Point("the file that detects a copied store is made", "the next command records it"),
    "store.spare-made": Point("the graph's spare file exists, still empty", "the next command fills it"),
    "store.spare-given-up": Point("`rm` or `gc` has deleted the spare file", "the next command makes it again"),
}
INGEST = {
    "ingest.made": Point("the process has its own directory for work in flight", _INGEST),
    "ingest.spool-made": Point("a file is made for layers that a stream delivers out of order", _INGEST),
    "ingest.places-noted": Point("the places of files that are about to be unrecorded are listed", _INGEST),
    "ingest.leaving": Point("the work is over, and the ingest is about to be deleted", _INGEST),
    "ingest.removed": Point("the ingest is deleted", _DONE),
}
LEFTOVERS = {
    "leftovers.claimed": Point("this process has taken over a dead process's ingest", _INGEST),
    "leftovers.places-taken": Point("files that it lists and the graph does not record are moved into it", _INGEST),
    "leftovers.removed": Point("the ingest is deleted", "the next import or `gc` deletes the other leftovers"),
}
TAKE = {
    "take.claimed": Point("the layers to be read are claimed", "the claim was a lock, and ended with the process"),
    "take.tar-linked": Point("the blob of an uncompressed layer is also the tree's tar", _INGEST),
    "take.blob-written": Point("a layer's blob is written and verified", _INGEST),
    "take.blob-synced": Point("a layer's blob is durable", _INGEST),
    "take.tree-built": Point("a layer's tree is built", _INGEST),
    "take.layer-verified": Point("a layer's diff ID is verified", _INGEST),
    "take.group-written": Point("all layers of a group are written, but not yet durable", _INGEST),
    "take.group-synced": Point("all blobs of a group are durable", _INGEST),
    "take.layers-read": Point("all layers are read, and the workers have ended", _INGEST),
    "take.document-synced": Point("a manifest, config or index is durable", _INGEST),
    "take.attachment-kept": Point("the manifest and the blobs of an attachment are in the ingest", _INGEST),
    "take.all-synced": Point("many files are made durable by one call", _INGEST),
    "take.cap-built": Point("a cap is built", _INGEST),
    "take.tree-adapted": Point("an adapted tree is built", _INGEST),
    "take.run-merged": Point("a merged index is made", _INGEST),
    "take.prepared": Point("everything to be published is in the ingest", _INGEST),
}
PUBLISH = {
    "publish.announced": Point("trees to be replaced are no longer trusted", "they are built at their next use"),
    "publish.verified": Point("everything reused still exists, and is locked against removal", _INGEST),
    "publish.tree-exchanged": Point("a tree and its replacement have exchanged names", "it is built at its next use"),
    "publish.tree-placed": Point("a tree is in place", _ORPHANS),
    "publish.run-dropped": Point("a merged index over a replaced tree is removed", "it is made at its next use"),
    "publish.blob-placed": Point("a blob is in place", _ORPHANS),
    "publish.directories-synced": Point("the names of the blobs are durable", _ORPHANS),
    "publish.recorded": Point("all records are written, but not yet committed", _ORPHANS),
    "publish.failed": Point("the transaction is aborted, and the files are still in place", _ORPHANS),
    "publish.taken-back": Point("files that were in place are back in the ingest", _INGEST),
}
CONTENTS = {
    "contents.written": Point(
        "a new part of the index of contents is written", "the next one replaces it; `find` works"
    ),
    "contents.placed": Point("it has its name", "parts that were merged into it stay until the next merge"),
    "contents.merged": Point("parts that were merged into it are removed", _DONE),
}
LAYOUT = {
    "layout.written": Point("the new `index.json` has a temporary name", "the change is undone; `gc` deletes the file"),
    "layout.committed": Point("the graph is committed", f"{_LAYOUT}; `gc` deletes the temporary file"),
    "layout.placed": Point("`index.json` is in place", _DONE),
    "layout.replacing": Point("a new `index.json` has a temporary name", f"{_LAYOUT}; `gc` deletes the temporary file"),
    "layout.replaced": Point("it is in place", _DONE),
}
REMOVE = {
    "remove.planned": Point("`rm` has planned what it removes", _NOTHING),
    "remove.recorded": Point("`rm` has deleted the records", _GARBAGE),
    "remove.file-moved": Point("a file has moved from its place to the ingest", f"{_GARBAGE}; {_INGEST}"),
    "remove.files-moved": Point("all files have moved to the ingest", _INGEST),
}
TRIM = {
    "trim.planned": Point("`trim` has planned which trees it gives up", _NOTHING),
    "trim.recorded": Point("`trim` has deleted the records", _GARBAGE),
}
COLLECT = {
    "collect.planned": Point("`gc` has planned what it collects", _NOTHING),
    "collect.mounts-pruned": Point("records of mounts that are gone are deleted", "the next `gc` collects the rest"),
    "collect.containers-removed": Point("containers of dead processes are removed", "the next `gc` collects the rest"),
    "collect.launcher-file-removed": Point("a file of a killed launcher is deleted", "the next `gc` collects the rest"),
    "collect.marked": Point("`gc` has marked everything reachable", "the next `gc` collects the rest"),
    "collect.recorded": Point("`gc` has deleted the records, and the leases of dead processes", _GARBAGE),
    "collect.hints-dropped": Point("hints about removed content are deleted", _GARBAGE),
    "collect.orphan-moved": Point("an orphan has moved to the ingest", _INGEST),
    "collect.ingest-removed": Point("a dead process's ingest is deleted", "the next `gc` collects the rest"),
    "collect.synced": Point("all trees are durable, but not yet recorded as durable", "the next `gc` records it"),
    "collect.settled": Point("they are recorded as durable", _DONE),
}
LEASE = {
    "lease.taken": Point("a lease is recorded", "it names a dead process, and protects nothing: `gc` deletes it"),
    "lease.returned": Point("its record is deleted", _DONE),
}
CONTAINER = {
    "container.staged": Point("its directories are made in an ingest", _INGEST),
    "container.placed": Point("its directory is in place", _LISTED),
    "container.recorded": Point("its record is committed", "its owner is dead: `gc` or the next `run` removes it"),
    "container.kept": Point("it is mounted or started, and recorded as permanent", "it exists, and can be used"),
    "container.lent": Point("it belongs to its launcher, to be removed at its end", "it exists, and goes at its end"),
    "container.name-written": Point("a new name is written next to its files, not in the graph", "it has its old name"),
    "container.renamed": Point("it has its new name", _DONE),
    "container.forgotten": Point("its record is deleted, but not its directory", _LISTED),
    "container.moved": Point("its directory has moved to the ingest", _INGEST),
}
VOLUME = {
    "volume.staged": Point("a new volume is complete in an ingest", _INGEST),
    "volume.placed": Point("it is in place, durably", "it exists, and is empty"),
    "volume.copied": Point("the image's files are copied, but not yet in a new volume", "the next start copies again"),
    "volume.filled": Point("they are its content", _DONE),
    "volume.moved": Point("a removed volume has moved to the ingest", _INGEST),
}
MOUNT = {
    "mount.recorded": Point("a mount is recorded, but not yet made", "the record is stale: `gc` deletes it"),
    "mount.target-made": Point("the directory to mount on is made", "the record is stale: `gc` deletes both"),
    "mount.mounted": Point("it is mounted", "it works, and is listed: `umount` ends it, or `gc` for a new container"),
    "mount.unmounted": Point("it is unmounted, but still recorded", "the record is stale: `gc` deletes it"),
    "mount.target-removed": Point("the directory is removed", "the record is stale: `gc` deletes it"),
    "mount.forgotten": Point("the record is removed", _DONE),
}
COMMIT = {
    "commit.layer-written": Point("the container's changes are a blob in an ingest", _INGEST),
}
RUN = {
    "run.abandoned-removed": Point("containers of dead processes are removed", _NOTHING),
    "run.created": Point("the container is made", _RUN),
    "run.recorded": Point("`run.json` has the request, by which it can be started again", _RUN),
    "run.mounted": Point("its root file system is mounted, but not attached anywhere", _RUN),
    "run.starting": Point("`state.json` names its keeper", _RUN),
    "run.rootfs-placed": Point("the keeper has attached the mount in its own namespace", _RUN),
    "run.prepared": Point("the bundle is written", _RUN),
    "run.started": Point("the container is running", _RUN),
    "run.exited": Point("its main process has ended", _RUN),
    "run.ended": Point("all its processes have ended, and its control groups are removed", _RUN),
    "run.told": Point("`state.json` records how it ended", _RUN),
    "run.again": Point("its restart policy is about to start it again", "it counts as dead, and can be started again"),
}
LOAD = {
    "load.imported": Point("the pipeline image is imported", "it stays; the next `load` runs it"),
    "load.directories-made": Point("the directories that hand over images are made", "the next `load` uses them"),
    "load.set-aside": Point("files of a failed run are in `failed`", "they stay there; the next `load` runs it"),
    "load.running": Point("`.last` records that it runs", "the next `load` sets its files aside, and runs it again"),
    "load.ran": Point("it has succeeded, and `.last` records that", "the next `load` imports its images"),
    "load.gathered": Point("its images are in `.taken`", "the next `load` puts them back, and imports them"),
    "load.image-taken": Point("one of the images is imported", "the next `load` imports the rest"),
    "load.clearing": Point("all images are imported, and the directory is still full", "the next `load` empties it"),
    "load.cleared": Point("the directory is empty", _DONE),
}
REPAIR = {
    "repair.graph-made": Point("a new graph is in an ingest, durable", _INGEST),
    "repair.graph-kept": Point("the damaged graph has a second name, to be kept", "`check --repair` starts again"),
    "repair.graph-replaced": Point("the new graph has replaced it", "`check --repair` continues from there"),
    "repair.records-mended": Point("single records are repaired", "`check --repair` continues from there"),
    "repair.records-completed": Point("missing records of images are made", "`check --repair` continues from there"),
    "repair.blob-copied": Point("a good copy of a bad blob is in an ingest, durable", _INGEST),
    "repair.blob-placed": Point("a good blob has replaced a bad one", "`check --repair` does the rest"),
    "repair.blobs-taken": Point("altered blobs are removed", "they count as missing; before, they counted as bad"),
    "repair.distrusted": Point("altered trees are no longer trusted", "they are built at their next use"),
    "repair.rebuilt": Point("trees are rebuilt", "`check --repair` continues from there"),
    "repair.collected": Point("leftovers of killed processes are deleted", "`check --repair` continues from there"),
}

AREAS: dict[str, dict[str, Point]] = {
    "A new store": STORE,
    "Work in flight": INGEST,
    "Leftovers of dead processes": LEFTOVERS,
    "Taking images in": TAKE,
    "Publication": PUBLISH,
    "The index of contents": CONTENTS,
    "`index.json`": LAYOUT,
    "Removal": REMOVE,
    "Trees that are given up": TRIM,
    "Collection": COLLECT,
    "Leases": LEASE,
    "Containers": CONTAINER,
    "Volumes": VOLUME,
    "Mounts": MOUNT,
    "Commit": COMMIT,
    "Running a container": RUN,
    "Load": LOAD,
    "Repair": REPAIR,
}
POINTS: dict[str, Point] = {name: point for points in AREAS.values() for name, point in points.items()}
