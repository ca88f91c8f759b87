"""Containers and pipelines, as the library offers them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.api.importing import imported_images
from arstore.api.values.runs import Ended, Loaded

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from arstore.pipeline.load import Archive, InStore, LoadOptions
    from arstore.pipeline.load import Loaded as Report
    from arstore.runtime.driver import Runtime
    from arstore.runtime.lifecycle.containers import RunRequest
    from arstore.runtime.spec.options import RunOptions
    from arstore.store.progress import Progress
    from arstore.store.store import Store

    class FindRuntime(Protocol):
        """A search for an OCI runtime that works."""

        def __call__(self, store: Store, given: str | None, *, cgroups: bool, timeout: float | None) -> Runtime:
            """Return an OCI runtime that works. Raises RuntimeMissingError, UsageError, HostError."""


def run(
    store: Store,
    name: str,
    args: Sequence[str],
    options: RunOptions | None,
    container: str,
    keep: bool,
    timeout: float | None,
    runtime: str | None,
    find: FindRuntime,
    progress: Progress | None,
) -> Ended:
    """Run a command in a new container; see `arstore.api.store.Store.run`."""
    from arstore.runtime.lifecycle import containers

    request = _request(store, name, args, options, container, timeout, runtime, find, progress)
    done = containers.run(store, request._replace(keep=keep))
    return Ended(done.status, done.oom_killed)


def create(
    store: Store,
    name: str,
    args: Sequence[str],
    options: RunOptions | None,
    container: str,
    timeout: float | None,
    runtime: str | None,
    find: FindRuntime,
    progress: Progress | None,
) -> str:
    """Create a container, and return its id; see `arstore.api.methods.containers.Containers.create`."""
    from arstore.runtime.lifecycle import containers

    return containers.create(store, _request(store, name, args, options, container, timeout, runtime, find, progress))


def _request(
    store: Store,
    name: str,
    args: Sequence[str],
    options: RunOptions | None,
    container: str,
    timeout: float | None,
    runtime: str | None,
    find: FindRuntime,
    progress: Progress | None,
) -> RunRequest:
    from arstore.runtime.lifecycle.containers import RunRequest
    from arstore.runtime.spec.options import RunOptions

    image = store.find_image(name)
    how = options or RunOptions()
    if args:
        how = how._replace(args=tuple(args))
    trees = tuple(store.stack_records(image, progress))
    found = find(store, runtime, cgroups=how.cgroups, timeout=timeout)
    return RunRequest(image, how, found, container, timeout=timeout, trees=trees, chosen_runtime=runtime or "")


def load(
    store: Store,
    source: Archive | InStore,
    options: LoadOptions | None,
    runtime: str | None,
    find: FindRuntime,
    progress: Progress | None,
) -> Loaded:
    """Load a pipeline; see `arstore.api.store.Store.load`."""
    from arstore.pipeline.load import LoadOptions
    from arstore.pipeline.load import load as perform

    how = options or LoadOptions()

    def found(left: float | None) -> Runtime:
        return find(store, runtime, cgroups=how.container.cgroups, timeout=left)

    return _loaded(perform(store, source, how, found, progress))


def _loaded(report: Report) -> Loaded:
    return Loaded(
        image=report.image,
        names=report.names,
        ran=report.has_run,
        status=report.exit_code,
        images=imported_images(report.imported),
        kept=report.kept,
        set_aside=report.set_aside,
        seconds=dict(report.seconds),
        container=report.container,
        oom_killed=report.oom_killed,
    )
