"""Additional stores: stores of other users, or on read-only media, whose images are used in place.

Nothing is ever written there: no lock, no lease, no record. Each store is opened when it is first needed, because most
commands find everything in their own store; so a missing medium matters only to commands that need it.
The user gives the order. A *name* is looked up strictly in that order, and a store that cannot be read ends the search
with an error, because it might have the image that was meant. *Content* is looked up by digest in all stores that are
present, because it does not matter which of them provides it.

The owner of a store decides what runs from it. So the store has to belong to this user, to root, or to a user who was
named, and no other user may be able to write to it (threat-model.md). Not in scope: where the list of stores comes from
(`cli.stores_conf`).
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.digest import HEX_LENGTHS
from arstore.disk.access import name_of_user
from arstore.disk.paths import Directories
from arstore.errors import (
    AdditionalStoreError,
    ArstoreError,
    NoStoreError,
    StoreDamagedError,
    UsageError,
    reason,
)
from arstore.graph.datafile import DATA
from arstore.graph.graph import Graph
from arstore.graph.identity import ID
from arstore.graph.records import LentRecord
from arstore.linux.isolation.user_namespace import is_initial
from arstore.linux.mounting.filesystem import nobody_can_write
from arstore.store.ingest.inventory import Inventory
from arstore.store.presence import require
from arstore.trees.forms import properties
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from arstore.trees.format import TreeFormat

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_OF_CONTAINERS_STORAGE = frozenset({"overlay-images", "overlay-layers", "vfs-images", "btrfs-images"})
"""Directories that identify a store of podman, buildah or CRI-O."""

_MEDIUM_HINT = "check that its medium is mounted; ARSTORE_ADDITIONAL_STORES= works without additional stores"


class Wanted(NamedTuple):
    """An additional store that the user named: its root, and the users who may own it besides this one and root."""

    root: str
    owners: frozenset[int] = frozenset()


class AdditionalStore:
    """An additional store that is present and may be used: the parts of a store that reading needs."""

    def __init__(self, directories: Directories, graph: Graph, forms: Callable[[], dict[str, TreeFormat]]) -> None:
        self.directories = directories
        self.graph = graph
        self._forms = forms

    @property
    def root(self) -> str:
        """Its root, as the user named it."""
        return self.directories.root

    @property
    def id(self) -> str:
        """The store's id; "" for a store of an older format, which has none. Raises the errors of Graph."""
        with self.graph.read() as snapshot:
            return snapshot.own(ID) or ""

    def names_of(self, digest: str) -> tuple[str, ...]:
        """The names of an image there, sorted. Raises the errors of Graph."""
        with self.graph.read() as snapshot:
            return snapshot.names_of(digest)

    def inventory(self) -> Inventory:
        """Return a view of the content that is there and trusted."""
        # Mounts over another store's trees are outside this process's knowledge.
        return Inventory(self.directories, self.graph, self._forms, mounted=frozenset())

    def lent(self, digest: str) -> LentRecord | None:
        """Return the record for a layer's blob that this store has, or None. Raises the errors of Graph."""
        record = self.inventory().intact_blob(digest)
        return record and LentRecord(record.size, record.diff_id, record.tar_size, self.id, self.root)


class AdditionalStores:
    """The additional stores of one store, in the user's order.

    `absent` has the errors of those that were needed and cannot be used.
    """

    def __init__(self, own: Directories, wanted: Sequence[Wanted], forms: Callable[[], dict[str, TreeFormat]]) -> None:
        """*own* has the directories of the borrowing store; *forms* returns the tree formats by name."""
        self._own = own
        self._wanted = tuple(wanted)
        self._forms = forms
        self._known: dict[int, AdditionalStore | ArstoreError] = {}
        if wanted and not is_initial():
            _accept_vouched(os.environ.get(VOUCHED, ""))

    def __bool__(self) -> bool:
        """Whether any were named."""
        return bool(self._wanted)

    @property
    def roots(self) -> tuple[str, ...]:
        """The roots that were named."""
        return tuple(one.root for one in self._wanted)

    @property
    def absent(self) -> list[ArstoreError]:
        """The errors of those stores that were needed and cannot be used."""
        return [one for _, one in sorted(self._known.items()) if isinstance(one, ArstoreError)]

    def every(self) -> list[tuple[str, AdditionalStore | ArstoreError]]:
        """Return each root with its store, or with the error why it cannot be used."""
        return [(one.root, self._at(number)) for number, one in enumerate(self._wanted)]

    def require_all(self) -> None:
        """Raise the error of the first store that cannot be used."""
        for _ in self.strictly():
            pass

    def release(self) -> None:
        """Close their graphs, which has to happen before a fork; the next use opens them again."""
        for one in self._known.values():
            if isinstance(one, AdditionalStore):
                one.graph.release()

    def strictly(self) -> Iterator[AdditionalStore]:
        """Yield each store in order. Raises the error of the first that cannot be used, when it is reached."""
        for number in range(len(self._wanted)):
            found = self._at(number)
            if isinstance(found, ArstoreError):
                raise found
            yield found

    def there(self) -> list[AdditionalStore]:
        """Return the stores that can be used. Raises UsageError for a contradictory list of stores."""
        found = map(self._at, range(len(self._wanted)))
        return [one for one in found if isinstance(one, AdditionalStore)]

    def _at(self, number: int) -> AdditionalStore | ArstoreError:
        if number not in self._known:
            try:
                self._known[number] = self._verified(self._wanted[number])
            except UsageError:
                raise
            except ArstoreError as error:
                self._known[number] = error
            except OSError as error:
                why = reason(error)
                self._known[number] = AdditionalStoreError(_named(self._wanted[number].root), f"cannot be read: {why}")
        return self._known[number]

    def _verified(self, wanted: Wanted) -> AdditionalStore:
        what = _named(wanted.root)
        status = _status(wanted.root)
        self._refuse_twice(wanted, status)
        _require_trusted(wanted, status)
        try:
            directories = Directories(wanted.root, self._own.runroot)
            require(directories)
            graph = Graph(directories.graph, directories, create=False, survives_copy=_survives_copy, only_read=True)
            graph.verify()
        except NoStoreError as error:
            why = f"is not a store: {error.why.removeprefix('there is no store: ')}"
            raise AdditionalStoreError(what, why, _hint(wanted.root)) from error
        except StoreDamagedError as error:
            why = f"its graph is damaged: {error.why}"
            raise AdditionalStoreError(what, why, f"`arstore --root {wanted.root} check` shows more") from error
        except ArstoreError as error:
            raise AdditionalStoreError(what, error.why, error.hint) from error
        return AdditionalStore(directories, graph, self._forms)

    def _refuse_twice(self, wanted: Wanted, status: os.stat_result) -> None:
        own = os.stat(self._own.root) if os.path.isdir(self._own.root) else None
        if own is not None and os.path.samestat(own, status):
            raise UsageError(_named(wanted.root), "is the store itself", "take it out of the list of additional stores")
        for one in self._known.values():
            if isinstance(one, AdditionalStore) and os.path.samestat(os.stat(one.root), status):
                why = f"is the same directory as {one.root}, which is named too"
                raise UsageError(_named(wanted.root), why, "name each additional store once")


def lender_missing(digest: str, lent: LentRecord, stores: AdditionalStores | None) -> AdditionalStoreError:
    """Return the error for a lent blob that no additional store has now."""
    named = stores is not None and lent.place in stores.roots
    absent = stores.absent if stores is not None else []
    where = f"is in the additional store {lent.place}"
    for error in absent:
        if error.what == _named(lent.place):
            return AdditionalStoreError(digest, f"{where}, which {error.why}", error.hint)
    if named:
        why = f"{where}, which no longer has it"
        return AdditionalStoreError(digest, why, "`arstore import SOURCE` fetches it from the image's source")
    hint_text = f"name it with --additional-store {lent.place}, or import the image again with `arstore import SOURCE`"
    return AdditionalStoreError(digest, f"{where}, which is not named now", hint_text)


def _survives_copy(form: str) -> bool:
    return properties(form).survives_copy


def _named(root: str) -> str:
    return f"additional store {root}"


def _status(root: str) -> os.stat_result:
    """Raises AdditionalStoreError, OSError."""
    try:
        status = os.stat(root)
    except (FileNotFoundError, NotADirectoryError):
        raise AdditionalStoreError(_named(root), "does not exist", _MEDIUM_HINT) from None
    if not stat.S_ISDIR(status.st_mode):
        raise AdditionalStoreError(_named(root), "is not a directory", "name the root of a store")
    return status


def _hint(root: str) -> str:
    """Hint for a directory that is not a store."""
    try:
        names = os.listdir(root)
    except OSError:
        names = []
    if not names:
        return _MEDIUM_HINT
    if not _OF_CONTAINERS_STORAGE.isdisjoint(names):
        return "it is a podman store (containers/storage); `podman save` and `arstore import` copy its images"
    return "name the root of a store"


_vouched: set[tuple[int, int]] = set()
"""Roots of stores that were found to be trusted before this process entered a user namespace."""
VOUCHED = "_ARSTORE_VOUCHED_STORES"
"""Environment variable with these roots, `DEVICE:INODE` separated by blanks, for the commands of `arstore unshare`."""


def vouch(wanted: Sequence[Wanted]) -> None:
    """Find the trusted ones of the stores *wanted*: inside a user namespace, files of root have no known owner."""
    for one in wanted:
        with suppress(ArstoreError, OSError):
            status = _status(one.root)
            _require_trusted(one, status)
            _vouched.add((status.st_dev, status.st_ino))
    if _vouched:
        os.environ[VOUCHED] = " ".join(f"{device}:{inode}" for device, inode in sorted(_vouched))


def _accept_vouched(text: str) -> None:
    """Take over the roots in VOUCHED, which only this user can have set. Wrong ones are ignored."""
    for word in text.split():
        device, _, inode = word.partition(":")
        if device.isdigit() and inode.isdigit():
            _vouched.add((int(device), int(inode)))


def _require_trusted(wanted: Wanted, status: os.stat_result) -> None:
    """Require that only trusted users can have written the store. Raises AdditionalStoreError, OSError."""
    what = _named(wanted.root)
    if (status.st_dev, status.st_ino) in _vouched:
        return
    if nobody_can_write(wanted.root):
        # The content was fixed when the medium was made, and the administrator who mounted it trusts it.
        return
    trusted = {os.geteuid(), 0, *wanted.owners}
    _require_owner(what, wanted.root, status, trusted)
    places = ["blobs", *(f"blobs/{name}" for name in HEX_LENGTHS), "trees", "graph", f"graph/{DATA}", "store.json"]
    for place in ("", *places):
        path = f"{wanted.root}/{place}".rstrip("/")
        try:
            found = os.stat(path, follow_symlinks=not place)
        except FileNotFoundError:
            continue
        except PermissionError:
            why = f"this user may not read it ({path})"
            raise AdditionalStoreError(what, why, "ask its owner to make it readable, or to mount it") from None
        _require_owner(what, path, found, trusted)
        if stat.S_IMODE(found.st_mode) & _WRITABLE_BY_OTHERS:
            why = f"{path} can be written to by users other than its owner, who could change what runs here"
            raise AdditionalStoreError(what, why, f"`chmod go-w {path}`, or use a read-only copy")


def _require_owner(what: str, path: str, status: os.stat_result, trusted: set[int]) -> None:
    if status.st_uid in trusted:
        return
    owner = name_of_user(status.st_uid)
    why = f"{path} belongs to {owner}, who could change what runs here"
    hint = f"if you trust {owner}, add --additional-store-owner {owner.removeprefix('user ')}"
    raise AdditionalStoreError(what, why, hint)
