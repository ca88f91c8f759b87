"""Stores for tests: opened in a test's directory, filled from `images`, examined from outside.

    store = stores.opened(tmp_path)
    stores.bring(store, images.example())
    before = stores.State(store.directories.root)
    ...
    before.verify()

Expected content is read from the disk and with du(1), not with the tested code.
"""

from __future__ import annotations

import contextlib
import encodings.ascii  # noqa: F401 - a child that has become an ordinary user may not be able to read it
import hashlib
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support import images
from support.forking import guarded

from arstore.disk.owner import Owner
from arstore.disk.paths import STORE_FILE
from arstore.errors import NotFoundError
from arstore.graph.record_checksum import sealed, unsealed
from arstore.maintenance.check import check
from arstore.maintenance.scan.walk import _Surveyor
from arstore.mounts.table import MountTable
from arstore.store.layout import index_document, without_id
from arstore.store.store import Store
from arstore.transport.copy import ImportOptions, import_reference
from arstore.transport.selection.selector import Wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from arstore.disk.paths import Directories
    from arstore.maintenance.scan.totals import Survey
    from arstore.store.ingest.incoming import TakenImage
    from arstore.store.progress import Progress

Part = images.Picture | images.Collection


def opened(directory: Path) -> Store:
    """Open a store in `root` and `run` of *directory*; a new one is finished, and empty."""
    return made(directory / "root", directory / "run")


def made(root: str | Path, runroot: str | Path) -> Store:
    """Open a store in these directories; a new one is finished, and empty."""
    store = Store(str(root), str(runroot))
    store.graph.verify()
    store.graph.release()
    return store


def filled(directory: Path, *parts: Part) -> Store:
    """Open a new store in `root` and `run` of *directory*, a test's own, with *parts*: imported in this order.

    Each worker imports them once, next to the directory, and copies that store for each test.
    """
    key = hashlib.sha256(repr([(part.digest, part.names) for part in parts]).encode()).hexdigest()[:16]
    place = directory.parent / f"filled-{key}"
    if not place.exists():
        new = place.with_suffix(".new")
        new.mkdir()
        with opened(new) as store:
            for part in parts:
                bring(store, part)
        new.rename(place)
    subprocess.run(["cp", "-a", place / "root", directory / "root"], check=True)
    return opened(directory)


def archive_for(store: Store, *parts: Part, **more: Any) -> Path:
    """Write an OCI archive with *parts*, next to the root."""
    path = Path(store.directories.root).parent / f"archive-{os.urandom(4).hex()}.tar"
    return images.write_oci_archive(path, *parts, **more)


def bring(
    store: Store, *parts: Part, progress: Progress | None = None, every: bool = False, **more: Any
) -> list[TakenImage]:
    """Import *parts* through a temporary archive; *every* for all platforms, *more* for the archive."""
    path = archive_for(store, *parts, **more)
    try:
        return import_reference(store, f"oci-archive:{path}", ImportOptions(wanted=Wanted(every=every)), progress)
    finally:
        path.unlink()


def simple(*contents: str, names: tuple[str, ...] = (), compression: str = "none", **more: Any) -> images.Picture:
    """An image with a layer for each text, which has one file that is named after the text."""
    layers = [
        images.layer([images.directory("./"), images.file(text, text.encode())], compression) for text in contents
    ]
    return images.image(*layers, names=names, **more)


def du(path: str | Path) -> int:
    """Bytes allocated below *path*, by du(1)."""
    return int(subprocess.run(["du", "-sB1", f"{path}/"], capture_output=True, text=True, check=True).stdout.split()[0])


def files(root: str | Path) -> dict[str, tuple[int, int]]:
    """Everything below *root* except the graph's files: inode and size (0 for directories) by relative path.

    Many changes rewrite the index: its inode counts as 0.
    """
    found: dict[str, tuple[int, int]] = {}
    for directory, names, plain in os.walk(root):
        if os.path.relpath(directory, root) == ".":
            names.remove("graph")
        for name in [*names, *plain]:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            size = 0 if os.path.isdir(path) else status.st_size
            found[os.path.relpath(path, root)] = (status.st_ino, size)
    found["index.json"] = (0, found.get("index.json", (0, 0))[1])
    return found


def stamps(store: Store) -> dict[str, tuple[int, int, int]]:
    """Everything in the store's directory by path, with inode, size and time; without LMDB's table of readers."""
    found = {}
    for path in sorted(Path(store.directories.root).rglob("*")):
        status = os.lstat(path)
        found[str(path)] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return {path: one for path, one in found.items() if not path.endswith("lock.mdb")}


def blobs(store: Store) -> set[str]:
    """The digests of the blob files that are there."""
    base = Path(store.directories.root, "blobs")
    return {f"{path.parent.name}:{path.name}" for path in base.glob("*/*")}


def trees(store: Store) -> set[str]:
    """The keys of the tree directories that are there."""
    return {f"sha256:{name}" for name in os.listdir(store.directories.trees)}


def names(store: Store) -> dict[str, str]:
    """Digests by name."""
    with store.graph.read() as snapshot:
        return dict(snapshot.names())


def records(store: Store) -> dict[str, Any]:
    """All records of the graph, by table and key."""
    with store.graph.read() as snapshot:
        tables = ("blobs", "layers", "trees", "images", "attachments", "names", "containers", "leases")
        return {f"{table}/{key}": record for table in tables for key, record in getattr(snapshot, table)()}


def verify_layout(store: Store) -> None:
    """index.json lists what the graph holds, and every file that it lists is there."""
    with store.graph.read() as snapshot:
        assert Path(store.directories.root, "index.json").read_bytes() == index_document(snapshot)
        listed = {digest for digest, _ in snapshot.blobs()}
    assert listed == blobs(store)


def verify_clean(store: Store) -> None:
    """`check` finds nothing at all, and nothing is in flight."""
    assert check(store) == []
    assert os.listdir(store.directories.ingest) == []


class State:
    """The state of a store at one moment, to compare later states with."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen = self._look()

    def _look(self) -> tuple[Any, ...]:
        root = self._store.directories.root
        return files(root), records(self._store), du(root) - du(f"{root}/graph")

    def verify(self) -> None:
        """Check that the store is as it was, and sound."""
        for now, before in zip(self._look(), self._seen, strict=True):
            assert now == before
        verify_clean(self._store)


def edit(store: Store, table: str, key: str, **changes: Any) -> None:
    """Change fields of one record directly in the graph."""
    with store.graph.write() as change:
        kind = table.removesuffix("s")
        record = getattr(change, kind)(key)
        getattr(change, f"put_{kind}")(key, record._replace(**changes))


def dead_owner() -> Owner:
    """A process of this boot that has ended."""
    current = Owner.current()
    return current._replace(start=current.start + 1)


@contextlib.contextmanager
def in_child(work: Callable[[], object], expected: int | None = 0) -> Iterator[int]:
    """Fork a process that runs *work*, and ends with 0, or with 1 and a traceback; the context is the parent's.

    At its end the child is waited for, and must have ended with *expected* (negative for a signal, None for any).
    """
    pid = os.fork()
    if pid == 0:
        guarded(work)
    try:
        yield pid
    finally:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert expected is None or status == expected, f"the child ended with {status}"


def forked(work: Callable[[], object], expected: int | None = 0) -> None:
    """Run *work* in a forked process and wait for its end, as `in_child` does."""
    with in_child(work, expected):
        pass


def make_older(store: Store, version: int = 2) -> None:
    """Make *store* one of an earlier format, as an arstore of that time left it; it is closed."""
    index = Path(store.directories.root, "index.json")
    with store.graph.write() as change:
        if index.exists():
            index.write_bytes(without_id(index.read_bytes(), change.own("id") or ""))
        change.delete("meta", "id")
        change.delete("meta", "lineage")
        text = str(version).encode()
        change.put_raw(b"meta/format", sealed(b"meta/format", text))
        if version == 1:
            for key, value in change.rows():
                change.put_raw(key, unsealed(key, value))
    store.close()
    Path(store.directories.root, STORE_FILE).unlink()


def umount_all(store: Store) -> list[str]:
    """Unmount everything in the mount table; return the ids of what was unmounted."""
    table = MountTable(store.directories)
    done = []
    for entry in table.list():
        # Another process may have been faster.
        with contextlib.suppress(NotFoundError):
            table.umount(entry.record.id)
            done.append(entry.record.id)
    return done


def survey(directories: Directories) -> Survey:
    """Look at everything below the root in one go, as the parts together do."""
    return _Surveyor(directories).run()
