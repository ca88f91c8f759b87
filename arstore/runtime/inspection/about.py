"""Everything that is known of a container: its record, its state, its recorded request and its image's config.

Each part may be missing or unreadable: a container may never have run, a power cut may have damaged a file, and
`mount --rw` makes containers without a request. Then the answers are those of a container without that part. Modules
are imported when they are needed, because `ps` usually needs few. Out of scope: how the answers are named in documents.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

from arstore.errors import (
    ArstoreError,
    CommandNotFoundError,
    ImageConfigError,
    InvalidReferenceError,
    NotFoundError,
    StoreDamagedError,
    StoreVersionError,
)
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from arstore.oci.config import ImageConfig
    from arstore.runtime.health.state import HealthState
    from arstore.runtime.lifecycle.request import Request
    from arstore.runtime.lifecycle.state import RunState
    from arstore.runtime.spec.health import HealthCheck
    from arstore.runtime.spec.options import RunOptions, Volume
    from arstore.store.containers import Container
    from arstore.store.store import Store, StoredImage

_LONGEST_HOST_NAME = 63


class Mounted(NamedTuple):
    """A mount that the container has, besides those of every container; *kind* is bind, volume or tmpfs."""

    kind: str
    source: str
    destination: str
    options: tuple[str, ...] = ()
    read_only: bool = False
    name: str = ""
    """Of a named volume."""


class About:
    """Facts about one container. Parts are read when they are first needed, while the store is open."""

    def __init__(self, store: Store, container: Container) -> None:
        self._store = store
        self.container = container

    @cached_property
    def state(self) -> RunState | None:
        """The state of its last run; None if nothing was ever run in it, or the state cannot be read."""
        from arstore.runtime.lifecycle.state import known_status

        return known_status(self.container.path)

    @cached_property
    def health(self) -> HealthState | None:
        """The health of its last run; None if it has no health check, or never ran."""
        from arstore.runtime.health.state import health_state

        return None if self.state is None else health_state(self.container.path)

    @cached_property
    def request(self) -> Request | None:
        """How it was asked to be run; None if that was not recorded, or cannot be read."""
        from arstore.runtime.lifecycle.request import recorded_request

        try:
            return recorded_request(self.container)
        except (NotFoundError, StoreDamagedError, StoreVersionError):
            return None

    @cached_property
    def options(self) -> RunOptions:
        """The options that it was asked to be run with."""
        from arstore.runtime.spec.options import RunOptions

        return RunOptions() if self.request is None else self.request.options

    @cached_property
    def image(self) -> StoredImage | None:
        """Its image."""
        try:
            return self._store.find(self.container.record.image)
        except (NotFoundError, InvalidReferenceError):
            return None

    @cached_property
    def config(self) -> ImageConfig | None:
        """The config of its image; None if that is damaged."""
        if self.image is None:
            return None
        try:
            return self._store.config(self.image)
        except (ArstoreError, OSError):
            return None

    @property
    def image_name(self) -> str:
        """The name of its image, or the digest of one without a name."""
        named = self.image is not None and self.image.names
        return self.image.names[0] if self.image is not None and named else self.container.record.image

    @property
    def status(self) -> str:
        """The status that `ps` shows."""
        return "created" if self.state is None else self.state.status

    @property
    def pid(self) -> int:
        """The process id of its first process; 0 if it is not running."""
        state = self.state
        return state.process.pid if state is not None and state.is_running and state.process is not None else 0

    @property
    def hostname(self) -> str:
        """Its host name."""
        if self.options.hostname:
            return self.options.hostname
        if self.options.network == "host" or self.options.isolation.uts == "host":
            return os.uname().nodename[:_LONGEST_HOST_NAME] or "localhost"
        return self.container.id[:_LONGEST_HOST_NAME].strip("._-") or "localhost"

    @property
    def args(self) -> tuple[str, ...]:
        """The whole command: that of its last run, or else the one that it is to run."""
        if self.state is not None:
            return self.state.args
        if self.config is not None:
            from arstore.runtime.spec.command import container_args

            with suppress(ImageConfigError, CommandNotFoundError):
                return container_args(self.config, self.options)
        return self.options.args

    @property
    def command(self) -> tuple[str, ...]:
        """The part of the command after the entrypoint."""
        if self.options.args or self.options.entrypoint is not None or self.config is None:
            return self.options.args
        return self.config.cmd

    @property
    def entrypoint(self) -> tuple[str, ...]:
        """The entrypoint, from the options or else from the image."""
        if self.options.entrypoint is not None:
            return self.options.entrypoint
        return () if self.config is None else self.config.entrypoint

    @property
    def env(self) -> tuple[str, ...]:
        """The environment of its first process, without HOME unless that is set explicitly."""
        from arstore.runtime.spec.process import container_environment

        image = () if self.config is None else self.config.env
        with suppress(ImageConfigError):
            found = container_environment(image, self.options, home="", hostname=self.hostname)
            return tuple(variable for variable in found if variable != "HOME=")
        return (*image, *self.options.env)

    @property
    def labels(self) -> dict[str, str]:
        """The labels of its image, and its own."""
        return {**({} if self.config is None else self.config.labels), **self.options.labels}

    @property
    def user(self) -> str:
        """The user that was asked for, or the image's."""
        if self.options.user is not None:
            return self.options.user
        return "" if self.config is None else self.config.user

    @property
    def working_dir(self) -> str:
        """The working directory."""
        return self.options.workdir or ("" if self.config is None else self.config.working_dir) or "/"

    @property
    def health_check(self) -> HealthCheck | None:
        """Its health check, from the options and the image; None for none."""
        from arstore.runtime.spec.health import health_check

        return health_check(None if self.config is None else self.config.healthcheck, self.options.health)

    @property
    def stop_signal(self) -> str:
        """The name of the stop signal as it was given."""
        return self.options.stop_signal or ("" if self.config is None else self.config.stop_signal) or "SIGTERM"

    @property
    def pids_limit(self) -> int:
        """The limit of processes and threads; 0 for none."""
        from arstore.runtime.spec.resources import MOST_PROCESSES

        limit = MOST_PROCESSES if self.options.pids_limit is None else self.options.pids_limit
        return max(limit, 0)

    @property
    def mounts(self) -> list[Mounted]:
        """The user's and the image's volumes and file systems in memory."""
        from arstore.runtime.spec.mounts.private import places_of
        from arstore.runtime.spec.mounts.section import image_volumes

        found = [_of_volume(volume, self.container.path) for volume in self.options.volumes]
        with suppress(ImageConfigError):
            places = () if self.config is None else image_volumes(self.config, self.options)
            private = places_of(self.container.path)
            found += [Mounted("volume", private.get(place, ""), place) for place in places]
        found += [Mounted("tmpfs", "", one.destination, one.options) for one in self.options.tmpfs]
        return found

    @property
    def effective_capabilities(self) -> tuple[str, ...]:
        """The capabilities of a root process in it, as far as this process could grant them."""
        from arstore.linux.isolation import capability

        return self.options.capabilities(capability.effective())

    def written(self) -> int:
        """Return the bytes of the files that it has written, which change meanwhile. Raises OSError."""
        total = 0
        for directory, _, names in os.walk(self.container.upper):
            for name in names:
                with suppress(FileNotFoundError):
                    total += os.lstat(os.path.join(directory, name)).st_size
        return total


def _of_volume(volume: Volume, container: str) -> Mounted:
    source = volume.source
    if volume.kind == "volume" and volume.name:
        source = f"{os.path.dirname(os.path.dirname(container))}/volumes/{volume.name}/data"
    return Mounted(volume.kind, source, volume.destination, volume.options, volume.read_only, volume.name)
