"""`Volumes`: the named volumes of a store."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.api.values.containers import NamedVolume, RemovedVolumes
from arstore.errors import ArstoreError, ConflictError, InUseError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from arstore.api.opened import OpenStore
    from arstore.store.volumes import StoredVolume


class Volumes:
    """The named volumes of a store: `Store.volumes`.

    Every method raises StoreError, HostError and OSError as the methods of `Store`.
    """

    def __init__(self, store: OpenStore) -> None:
        self._store = store

    def list(self) -> tuple[NamedVolume, ...]:
        """Return all volumes, sorted by name. One whose record is damaged is left out, with a warning."""
        volumes = self._store._open().volumes
        users, found = volumes.users(), []
        for name in volumes.names():
            try:
                found.append(_value(volumes.get(name), users.get(name, ())))
            except ArstoreError as error:
                self._store._tell(str(error))
        return tuple(found)

    def get(self, name: str) -> NamedVolume:
        """Return the volume *name*.

        Raises:
            NotFoundError: no such volume.
            StoreDamagedError: its record is damaged.
        """
        volumes = self._store._open().volumes
        return _value(volumes.get(name), volumes.users().get(name, ()))

    def create(self, name: str = "", *, labels: Mapping[str, str] | None = None, exist_ok: bool = False) -> NamedVolume:
        """Create a volume; without a *name*, with a random one. A missing store is created.

        Raises:
            InvalidReferenceError: *name* is malformed.
            ConflictError: the volume exists, and *exist_ok* is not set.
        """
        with self._store._bringing(forks=False) as store:
            try:
                return _value(store.volumes.create(name, labels), ())
            except ConflictError:
                if not exist_ok:
                    raise
                return _value(store.volumes.get(name), store.volumes.users().get(name, ()))

    def remove(self, *names: str, force: bool = False, dry_run: bool = False) -> RemovedVolumes:
        """Remove volumes, with everything in them; with *dry_run*, return the plan.

        Either all of them are removed, or an error is raised before the first one is. With *force*, the containers that
        use them are ended and removed first, and missing volumes are ignored.

        Raises:
            NotFoundError: no such volume.
            InUseError: a container uses one of them.
        """
        volumes = self._store._open().volumes
        users, existing = volumes.users(), volumes.names()
        wanted = tuple(dict.fromkeys(names))
        for name in () if force else wanted:
            if name not in existing:
                volumes.get(name)
            if name in users:
                why = f"is used by container {', '.join(users[name])}"
                hint = f"run `arstore container rm {users[name][0]}` first, or use --force"
                raise InUseError(f"volume {name}", why, hint)
        wanted = tuple(name for name in wanted if name in existing)
        containers = tuple(sorted({one for name in wanted for one in users.get(name, ())}))
        return RemovedVolumes(wanted, containers, 0 if dry_run else self._take(wanted, containers))

    def _take(self, names: Sequence[str], containers: Sequence[str]) -> int:
        """Remove *containers*, then the volumes *names*; return the bytes on disk of the volumes."""
        from arstore.runtime.lifecycle.removal import remove_by_force

        store = self._store._open()
        for container_id in containers:
            # It may have ended and been removed by itself.
            with suppress(NotFoundError):
                remove_by_force(store, store.containers.get(container_id), 0.0)
        return sum(store.volumes.remove(name) for name in names)


def _value(one: StoredVolume, users: Sequence[str]) -> NamedVolume:
    return NamedVolume(one.name, one.mountpoint, dict(one.labels), one.created, tuple(users), one.is_new)
