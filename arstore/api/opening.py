"""Open a store for a command or a program; a new store is removed again if its first import fails."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from arstore.api import places
from arstore.errors import UsageError, naming

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from arstore.store.additional import Wanted
    from arstore.store.store import Store


def directories_of(root: str | None, runroot: str | None) -> tuple[str, str]:
    """Return root and runroot: the given ones, or the defaults of this user (docs/cli.md, "Options").

    Raises:
        UsageError: ARSTORE_ROOT, ARSTORE_RUNROOT or an argument is empty, as when a script uses an unset variable.
        PermissionDeniedError: the only possible runroot belongs to another user.
        OSError: the runroot cannot be examined.
    """
    _refuse_empty("--root", root, "ARSTORE_ROOT")
    _refuse_empty("--runroot", runroot, "ARSTORE_RUNROOT")
    uid = os.geteuid()
    default = places.default_root(os.environ, uid)
    chosen = root or default
    if runroot:
        return chosen, runroot
    own = None if os.path.realpath(chosen) == os.path.realpath(default) else chosen
    return chosen, places.default_runroot(os.environ, uid, own)


def additional_to(root: str, given: Sequence[str] = (), owners: Sequence[str] = ()) -> list[Wanted]:
    """Return the additional stores of the store at *root*: *given*, or those of the environment or of stores.conf.

    Raises:
        UsageError: the list names a store twice, or the store itself, or an owner that is not a user.
        HostError: the file cannot be used.
    """
    environ = os.environ
    if not (given or places.ADDITIONAL in environ or places.stores_conf(environ, os.geteuid())):
        return []
    from arstore.api import stores_conf

    return stores_conf.wanted(given, owners, environ, root)


@contextmanager
def opened(
    root: str, runroot: str, *, create: bool = False, additional: Sequence[Wanted] = (), may_lack: bool = False
) -> Iterator[Store]:
    """Open the store, with its *additional* stores, and close it at the end of the context.

    With *create*, a missing store is created, and removed again if the context ends with an error, so that only a
    successful import creates a store. With *may_lack*, a missing store is treated as an empty one. An OSError that
    leaves the context names the store.

    Raises:
        NoStoreError: there is no store, and neither *create* nor *may_lack* is true.
        StoreDamagedError: the store is damaged or inconsistent.
        StoreVersionError: a newer arstore has written the store.
        HostError: the operating system does not allow access to the store.
    """
    from arstore.disk.paths import STORE_FILE
    from arstore.errors import ArstoreError
    from arstore.store.store import Store

    place = os.path.abspath(root)
    is_new = create and not os.path.lexists(f"{place}/{STORE_FILE}")
    with naming(place), Store(root, runroot, create=create, additional=additional, may_lack=may_lack) as store:
        store.relief = partial(_reclaim, store)
        if create:
            # Before any incoming data is read.
            store.graph.verify()
        try:
            yield store
        except BaseException:
            if is_new:
                with suppress(ArstoreError, OSError):
                    store.graph.unmake()
            raise


def _reclaim(store: Store) -> int:
    from arstore.maintenance.gc import reclaim

    return reclaim(store)


def _refuse_empty(option: str, given: str | None, variable: str) -> None:
    """Refuse an empty value, as of an unset variable in a script: it must not mean the default directory."""
    if given == "" or (given is None and os.environ.get(variable) == ""):
        raise UsageError(option if given == "" else variable, "is empty", "give a directory, or leave it out")
