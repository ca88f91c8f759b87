"""The pipeline's one-shot run: import an image, run it once, import what it left, clean up.

    <root>/pipelines/               shared by all pipelines, for whatever the host wants to hand in or get out
    <root>/<image name>/images/     where this pipeline leaves its images

Both are mounted into the container at the very same paths, and named by ARSTORE_PIPELINES and ARSTORE_IMAGES. The image
directory is emptied only after everything in it has been imported, and durably so; until then a later `load` finds
it as it was, and finishes the job: what is in the store already costs nothing. From before the run until after that,
no other `load` of the same pipeline runs (`turn`).
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.errors import (
    ArstoreError,
    InvalidReferenceError,
    PipelineFailedError,
    SubImageError,
    from_os_error,
)
from arstore.oci.reference import parse_name
from arstore.pipeline.leavings import Seen, find_leavings, opened_leaving
from arstore.pipeline.turn import only_load
from arstore.runtime.containers import RunRequest, run
from arstore.runtime.options import RunOptions, Volume
from arstore.store.directories import RESERVED, opened
from arstore.tar.entry import shown
from arstore.tar.limits import DEFAULT_LIMITS, Limits
from arstore.trace import reached
from arstore.transport.copy import ImportOptions, import_opened, import_reference
from arstore.transport.detect import open_source_fd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from arstore.pipeline.leavings import Leaving
    from arstore.runtime.driver import Runtime
    from arstore.store.incoming import TakenImage
    from arstore.store.progress import Progress
    from arstore.store.store import Store
    from arstore.transport.source import ImageSource, Spool


@dataclass(slots=True, frozen=True)
class LoadOptions:
    """How to load: `name` for a pipeline image that has none; how its container is to be, but for the two directories
    and their variables; seconds that it may run; whether images are left; limits.
    """

    name: str = ""
    container: RunOptions = field(default_factory=RunOptions)
    timeout: float | None = None
    keep_images: bool = False
    limits: Limits = DEFAULT_LIMITS


@dataclass(slots=True, frozen=True)
class Failure:
    """Something in the images directory that is no image, or could not be imported; *path* is below that directory."""

    path: str
    error: ArstoreError


@dataclass(slots=True)
class Loaded:
    """What a load did, filled in as it goes, so that a failure can still be told in full."""

    image: str = ""
    container: str = ""
    exit_code: int | None = None
    oom_killed: bool = False
    """Whether the kernel killed a process of the pipeline for want of memory."""
    imported: tuple[TakenImage, ...] = ()
    failed: tuple[Failure, ...] = ()
    kept: tuple[str, ...] = ()
    """Paths below the images directory that came or were changed after they had been looked at."""


_PATIENCE, _PAUSE = 5.0, 0.01
"""Seconds that a container is waited for whose `load` was killed, and seconds between two looks."""


def load(
    store: Store,
    archive: str,
    options: LoadOptions,
    runtime: Callable[[], Runtime],
    progress: Progress | None = None,
    loaded: Loaded | None = None,
) -> Loaded:
    """Import the pipeline image *archive*, run it once, import what it leaves, and empty its images directory.

    *loaded* is filled in along the way. Raises the errors of importing and running, InUseError when another process
    loads the same pipeline, PipelineFailedError when the container ends with another status than 0,
    PipelineTimeoutError, and SubImageError when something it left could not be imported; nothing is cleaned then.
    """
    loaded = loaded or Loaded()
    wanted = ImportOptions(name=options.name, single=True, limits=options.limits)
    (pipeline,) = import_reference(store, archive, wanted, progress)
    loaded.image = pipeline.digest
    reached("load.imported")
    directory = images_directory(store.directories.root, pipeline)
    root = store.directories.root
    with _made(root, os.path.dirname(directory)) as place, only_load(place, _label(pipeline)):
        pipelines = f"{root}/pipelines"
        for path in (pipelines, directory):
            with _made(root, path):
                pass
        reached("load.directories-made")
        _await_killed(store)
        request = RunRequest(
            image=store.find(pipeline.digest),
            options=_run_options(options, pipelines, directory),
            runtime=runtime(),
            timeout=options.timeout,
        )

        def created(container_id: str) -> None:
            loaded.container = container_id

        ended = run(store, request, created)
        loaded.exit_code, loaded.oom_killed = ended.status, ended.oom_killed
        if loaded.exit_code != 0:
            why = f"the pipeline ended with status {loaded.exit_code}"
            raise PipelineFailedError(_label(pipeline), why, f"what it left is in {directory}")
        reached("load.ran")
        _take_leavings(store, directory, options, progress, loaded)
    return loaded


def _await_killed(store: Store) -> None:
    """Wait until the containers of processes that were killed have ended: one may still write where ours is to run."""
    from arstore.store.cgroups import is_populated

    patience = time.monotonic() + _PATIENCE
    while time.monotonic() < patience and any(c.abandoned and is_populated(c.path) for c in store.containers.list()):
        time.sleep(_PAUSE)


def images_directory(root: str, pipeline: TakenImage) -> str:
    """`<root>/<image name>/images`, the name without its tag; for an image without one, the start of its digest.

    Raises InvalidReferenceError for a name that would lie in a directory of the store's own.
    """
    if not pipeline.names:
        return f"{root}/{Digest(pipeline.digest).short}/images"
    repository = parse_name(pipeline.names[0]).repository
    parts = repository.split("/")
    if parts[0] in RESERVED or "images" in parts:
        why = "as a pipeline's name, collides with a directory of the store"
        raise InvalidReferenceError(repository, why, "give it another with --name")
    return f"{root}/{repository}/images"


def _run_options(options: LoadOptions, pipelines: str, directory: str) -> RunOptions:
    asked = options.container
    return replace(
        asked,
        env=(f"ARSTORE_PIPELINES={pipelines}", f"ARSTORE_IMAGES={directory}", *asked.env),
        volumes=(Volume(pipelines, pipelines), Volume(directory, directory), *asked.volumes),
    )


@contextmanager
def _made(root: str, path: str) -> Iterator[int]:
    """*path* below *root*, open; made, one component at a time, where it is missing. Symlinks on the way are refused.

    Raises OSError.
    """
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in os.path.relpath(path, root).split("/"):
            with suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=fd)
            child = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
            os.close(fd)
            fd = child
        yield fd
    finally:
        os.close(fd)


def _take_leavings(
    store: Store, directory: str, options: LoadOptions, progress: Progress | None, loaded: Loaded
) -> None:
    imported: list[TakenImage] = []
    failed: list[Failure] = []
    seen = Seen()
    with opened(directory) as fd:
        for leaving in find_leavings(fd, seen):
            try:
                imported.extend(_import(store, fd, leaving, seen, options.limits, progress))
                reached("load.image-taken")
            except ArstoreError as error:
                failed.append(Failure(shown(leaving.path), error))
            except OSError as error:
                failed.append(Failure(shown(leaving.path), from_os_error(error, shown(leaving.path))))
        loaded.imported, loaded.failed = tuple(imported), tuple(failed)
        if failed:
            first = failed[0]
            more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
            why = f"could not be imported: {first.error}{more}"
            raise SubImageError(first.path, why, f"nothing was cleaned, all is in {directory}")
        if not options.keep_images:
            reached("load.clearing")
            seen.remove(fd)
            os.fsync(fd)
            reached("load.cleared")
            loaded.kept = tuple(shown(leaving.path) for leaving in find_leavings(fd))


def _import(
    store: Store, directory_fd: int, leaving: Leaving, seen: Seen, limits: Limits, progress: Progress | None
) -> list[TakenImage]:
    what = shown(leaving.path)
    if leaving.refusal:
        raise SubImageError(what, leaving.refusal)
    with opened_leaving(directory_fd, leaving, seen) as fd:

        def source(spool: Spool) -> ImageSource:
            return open_source_fd(fd, what, spool, os.fsdecode(leaving.parts[-1]), limits)

        return import_opened(store, source, ImportOptions(limits=limits), progress)


def _label(image: TakenImage) -> str:
    return image.names[0] if image.names else image.digest
