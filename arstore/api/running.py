"""Containers and pipelines, as the library offers them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.api.importing import imported_images
from arstore.api.values import Ended, Loaded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.pipeline.load import Archive, InStore, LoadOptions
    from arstore.pipeline.load import Loaded as Report
    from arstore.runtime.driver import Runtime
    from arstore.runtime.spec.options import RunOptions
    from arstore.store.progress import Progress
    from arstore.store.store import Store


def run(
    store: Store,
    name: str,
    args: Sequence[str],
    options: RunOptions | None,
    container: str,
    keep: bool,
    timeout: float | None,
    runtime: str | None,
    progress: Progress | None,
) -> Ended:
    """Run a command in a new container; see `arstore.api.store.Store.run`."""
    from arstore.runtime.lifecycle import containers
    from arstore.runtime.spec.options import RunOptions

    image = store.find_image(name)
    how = options or RunOptions()
    if args:
        how = how._replace(args=tuple(args))
    trees = tuple(store.stack_records(image, progress))
    found = _runtime(store, runtime, how, timeout)
    request = containers.RunRequest(image, how, found, container, keep, timeout, trees=trees)
    done = containers.run(store, request)
    return Ended(done.status, done.oom_killed)


def _runtime(store: Store, path: str | None, options: RunOptions, timeout: float | None) -> Runtime:
    """Return an OCI runtime that works. The graph is closed first, because a trial of a runtime forks."""
    from arstore.runtime.discovery import find_runtime

    store.close()
    return find_runtime(path, store.directories.runroot, cgroups=options.cgroups, timeout=timeout)


def load(
    store: Store,
    source: Archive | InStore,
    options: LoadOptions | None,
    runtime: str | None,
    progress: Progress | None,
) -> Loaded:
    """Load a pipeline; see `arstore.api.store.Store.load`."""
    from arstore.pipeline.load import LoadOptions
    from arstore.pipeline.load import load as perform

    how = options or LoadOptions()

    def found(left: float | None) -> Runtime:
        return _runtime(store, runtime, how.container, left)

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
