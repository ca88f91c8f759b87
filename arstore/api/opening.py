"""Open a store for a command or a program; a new store is removed again if its first import fails."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from arstore.api import places
from arstore.errors import UsageError, naming
from arstore.linux.isolation.user_namespace import acting_uid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from arstore.api.config.settings import Settings
    from arstore.store.additional import Wanted
    from arstore.store.store import Store


def settings_of(config: str | None = None, *, keep: bool = True) -> Settings | None:
    """Return the settings in the configuration files; None without a file, and then no module is imported for them.

    *config* replaces the files of the user and the host. With *keep*, the parsed form may be written to the usual
    runroot. Raises UsageError for an empty name, ConfigFileError for a file that cannot be used.
    """
    uid = acting_uid()
    files = places.config_files(os.environ, uid, config)
    if not files:
        return None
    from arstore.api.config.settings import read_settings

    return read_settings(files, os.environ, uid, keep=keep)


def directories_of(
    root: str | None, runroot: str | None, settings: Settings | None = None, *, make: bool = True
) -> tuple[str, str]:
    """Return root and runroot: the given ones, the configured ones, or the defaults of this user.

    See docs/configuration.md. A configured runroot belongs to the configured root, or to the default one; any other
    root gets a separate directory below it. Unless *make* is false, a runroot in /tmp is created.

    Raises:
        UsageError: ARSTORE_ROOT, ARSTORE_RUNROOT or an argument is empty, as when a script uses an unset variable.
        PermissionDeniedError: the only possible runroot belongs to another user.
        OSError: the runroot cannot be examined.
    """
    _refuse_empty("--root", root, "ARSTORE_ROOT")
    _refuse_empty("--runroot", runroot, "ARSTORE_RUNROOT")
    uid = acting_uid()
    usual = places.default_root(os.environ, uid)
    default = (settings and settings.root) or usual
    chosen = root or default
    if runroot:
        return chosen, runroot
    configured = settings.runroot if settings else None
    home = default if configured else usual
    own = None if os.path.realpath(chosen) == os.path.realpath(home) else chosen
    return chosen, places.default_runroot(os.environ, uid, own, configured, make=make)


def additional_to(
    root: str, given: Sequence[str] = (), owners: Sequence[str] = (), settings: Settings | None = None
) -> list[Wanted]:
    """Return the additional stores of the store at *root*.

    They are those *given*, else those of the environment, of the configuration, or of stores.conf.

    Raises:
        UsageError: the list names a store twice, or the store itself, or an owner that is not a user.
        ConfigFileError: the file cannot be used.
    """
    environ = os.environ
    configured = settings is not None and settings.additional is not None
    if not (given or configured or places.ADDITIONAL in environ or places.stores_conf(environ, acting_uid())):
        return []
    from arstore.api import stores_conf

    return stores_conf.wanted(given, owners, environ, root, settings)


@contextmanager
def opened(
    root: str,
    runroot: str,
    *,
    create: bool = False,
    additional: Sequence[Wanted] = (),
    may_lack: bool = False,
    settings: Settings | None = None,
) -> Iterator[Store]:
    """Open the store, with its *additional* stores, and close it at the end of the context.

    *settings* are those of the configuration: the format of new trees and the digests of their files, the size of the
    store, protected images.

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
        store.give_up = partial(_give_up_trees, store)
        if settings is not None:
            store.tree = settings.tree or store.tree
            store.file_digests = settings.file_digests or store.file_digests
            store.protects = settings.protects
            set_budget(store, settings, settings.max_size)
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


def set_budget(store: Store, settings: Settings | None, most: int | None) -> None:
    """Let the *store* take at most *most* bytes, and trim it at the high-water mark of *settings*; 0 for no limit."""
    high, low = (0, 0) if settings is None else (settings.high_water or 0, settings.low_water or 0)
    if not (most or high):
        store.fit = None
        return
    from arstore.maintenance.budget import Budget, keep_within

    store.fit = partial(keep_within, store, Budget(most or 0, high, low or high))


def _give_up_trees(store: Store, lacking: int, least: int, sparing: frozenset[str]) -> int:
    """Free *lacking* bytes, or as many as possible, by giving up trees that were not used for longest.

    Nothing is given up if that would not even free *least* bytes: the import will be refused.
    """
    from arstore.maintenance.budget import give_up
    from arstore.maintenance.trim import Goal

    return give_up(store, Goal(freed=lacking, least=least, sparing=sparing))


def _refuse_empty(option: str, given: str | None, variable: str) -> None:
    """Refuse an empty value, as of an unset variable in a script: it must not mean the default directory."""
    if given == "" or (given is None and os.environ.get(variable) == ""):
        raise UsageError(option if given == "" else variable, "is empty", "give a directory, or leave it out")
