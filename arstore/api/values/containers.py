"""Containers, and results of what is done with them. Times are in seconds since 1970."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.values import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping


@frozen
class Container:
    """A container at the moment when it was looked up.

    `image` is the digest of its image. `status` is a word of `arstore ps`: created, starting, running, paused,
    restarting, exited, failed or dead. `created`, `started` and `finished` are in seconds since 1970. `exit_code` is
    that of its last run, or 128 + N if signal N ended it. `pid` is its first process on the host. `error` is why the
    last run failed to start, or "". `restarts` is how often its restart policy has started it again. Fields of a run
    are None if there was none.
    """

    id: str
    name: str
    image: str
    status: str
    created: float
    started: float | None = None
    finished: float | None = None
    exit_code: int | None = None
    oom_killed: bool = False
    error: str = ""
    pid: int | None = None
    restarts: int = 0
    args: tuple[str, ...] = ()

    @property
    def is_running(self) -> bool:
        """True if it has processes, or is about to have some."""
        return self.status in {"starting", "running", "paused", "restarting"}


@frozen
class Stopped:
    """The result of `Containers.stop`.

    `was_running` is False if there was nothing to stop. `killed` is True if the container did not end within `timeout`
    seconds after the stop signal, whose number is `signal`.
    """

    id: str
    was_running: bool
    killed: bool = False
    signal: int = 0
    timeout: float = 0.0


@frozen
class PrunedContainers:
    """The result of `Containers.prune`, or its plan: the ids, and the bytes on disk that they occupied."""

    removed: tuple[str, ...]
    freed: int


@frozen
class NamedVolume:
    """A named volume: a directory of the store that containers share.

    `path` is the directory that containers see. `created` is in seconds since 1970. `containers` are the ids of the
    containers that use it. `is_new` is True until a container has used it.
    """

    name: str
    path: str
    labels: Mapping[str, str]
    created: float
    containers: tuple[str, ...] = ()
    is_new: bool = False


@frozen
class RemovedVolumes:
    """The result of `Volumes.remove`, or its plan.

    `names` are the volumes, `containers` the ids of the containers that were removed first. `freed` is in bytes on
    disk; 0 in a plan.
    """

    names: tuple[str, ...]
    containers: tuple[str, ...]
    freed: int
