"""`load`: the pipeline, from an archive to the images that its image makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from arstore import errors
from arstore.cli.command import (
    MOUNT_ERRORS,
    SOURCE_ERRORS,
    Command,
    exit_statuses,
    json_option,
    limit_option,
    pass_session,
    progress_option,
    strict_xattrs_option,
)
from arstore.cli.imports import besides, image_document, in_the_store, refuse_terminal
from arstore.cli.option import option
from arstore.cli.output import stdout_as_stderr, write_json, write_line
from arstore.cli.run import NETWORKS, SECONDS, environment, warn_of_config, working_runtime

if TYPE_CHECKING:
    from arstore.cli.session import Session
    from arstore.pipeline.load import Loaded, LoadOptions
    from arstore.runtime.driver import Runtime
    from arstore.store.store import Store

_TOLD = 10
"""Paths that stayed in the images directory and are named one by one."""


@exit_statuses(
    *SOURCE_ERRORS,
    *MOUNT_ERRORS,
    errors.InUseError,
    errors.RuntimeMissingError,
    errors.RuntimeFailedError,
    errors.ImageConfigError,
    errors.CommandNotFoundError,
    errors.CommandNotExecutableError,
    errors.PipelineFailedError,
    errors.PipelineTimeoutError,
    errors.SubImageError,
)
@click.command("load", cls=Command)
@option("-i", "--input", "archive", metavar="FILE", required=True, help="The pipeline image's archive.")
@option("--name", metavar="NAME[:TAG]", default="", help="The image's name, in place of the one it brings.")
@option("-e", "--env", metavar="K[=V]", multiple=True, help="A variable for the pipeline.")
@option("--timeout", metavar="S", type=SECONDS, help="The most seconds that it may run.")
@option("--network", type=click.Choice(NETWORKS), default="none", show_default=True, help="The network.")
@option("--runtime", "runtime_path", metavar="PATH", help="The OCI runtime; by default the first that works.")
@option("--keep-images", is_flag=True, help="Leave what it made in the images directory, imported or not.")
@limit_option
@strict_xattrs_option
@progress_option
@json_option
@pass_session
def load(
    session: Session,
    archive: str,
    name: str,
    env: tuple[str, ...],
    timeout: float | None,
    network: str,
    runtime_path: str | None,
    keep_images: bool,
    limit: tuple[str, ...],
    strict_xattrs: bool,
) -> None:
    """Import a pipeline image, run it, and import the images it makes.

    The image runs once, with ROOT/pipelines and ROOT/NAME/images mounted at these same paths, which ARSTORE_PIPELINES
    and ARSTORE_IMAGES tell it. Every archive and image directory that it leaves in the latter is imported, and the
    directory is emptied when all of that has worked. After a failure nothing is emptied, and another load finishes
    the job. A pipeline is loaded by one process at a time; a second one is refused.

    Prints a line an image: its digest and its names, the pipeline's first. What the pipeline itself writes goes to
    stderr.
    """
    from arstore.pipeline.load import Loaded, LoadOptions
    from arstore.tar.limits import Limits, changed

    refuse_terminal(archive)
    limits = changed(limit, Limits(strict_xattrs=strict_xattrs))
    options = LoadOptions(name, environment(env), timeout, keep_images, network, limits)
    loaded = Loaded()
    session.tell_confinement()
    with session.store(create=True) as store:
        try:
            _load(session, store, archive, options, runtime_path, loaded)
        except (errors.ArstoreError, OSError):
            if loaded.image:
                _render(session, store, loaded)
            raise
    _render(session, store, loaded)


def _load(
    session: Session, store: Store, archive: str, options: LoadOptions, runtime_path: str | None, loaded: Loaded
) -> None:
    from arstore.pipeline.load import load as load_pipeline

    def runtime() -> Runtime:
        warn_of_config(session, store, store.find(loaded.image))
        return working_runtime(session, store, runtime_path)

    with session.progress() as progress, stdout_as_stderr():
        load_pipeline(store, archive, options, runtime, progress, loaded)


def _render(session: Session, store: Store, loaded: Loaded) -> None:
    session.done = in_the_store([loaded.image, *(image.digest for image in loaded.imported)])
    if session.json:
        write_json({**_document(loaded), **besides(store)})
        return
    write_line(loaded.image)
    for image in loaded.imported:
        write_line(image.digest, *image.names)
    for path, skipped in loaded.skipped.items():
        for line in skipped.lines():
            session.note(f"{path}: {line}")
    for failure in loaded.failed:
        session.warn(f"{failure.path}: {failure.error}")
    for path in loaded.kept[:_TOLD]:
        session.warn(f"{path}: stays in the images directory, because it came or was changed during the import")
    if len(loaded.kept) > _TOLD:
        session.warn(f"{len(loaded.kept) - _TOLD} more stay there")


def _document(loaded: Loaded) -> dict[str, Any]:
    return {
        "pipeline": {"image": loaded.image, "container": loaded.container, "exit_code": loaded.exit_code},
        "imported": [image_document(image) for image in loaded.imported],
        "skipped": [
            {"path": path, **document} for path, skipped in loaded.skipped.items() for document in skipped.documents()
        ],
        "skipped_count": sum(skipped.count for skipped in loaded.skipped.values()),
        "failed": [{"path": failure.path, "error": str(failure.error)} for failure in loaded.failed],
        "kept": list(loaded.kept),
    }
