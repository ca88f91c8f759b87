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
)
from arstore.cli.container_options import SECONDS, ContainerWords, container_options, run_options
from arstore.cli.imports import image_document, refuse_terminal
from arstore.cli.option import option
from arstore.cli.output import stdout_as_stderr, write_json, write_line
from arstore.cli.run import working_runtime

if TYPE_CHECKING:
    from typing import Unpack

    from arstore.cli.session import Session
    from arstore.pipeline.load import Loaded, LoadOptions
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
@option("--timeout", metavar="S", type=SECONDS, help="The most seconds that it may run.")
@option("--runtime", "runtime_path", metavar="PATH", help="The OCI runtime; by default the first that works.")
@option("--keep-images", is_flag=True, help="Leave what it made in the images directory, imported or not.")
@container_options
@limit_option
@progress_option
@json_option
@pass_session
def load(
    session: Session,
    archive: str,
    name: str,
    timeout: float | None,
    runtime_path: str | None,
    keep_images: bool,
    limit: tuple[str, ...],
    **words: Unpack[ContainerWords],
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
    from arstore.tar.limits import changed

    refuse_terminal(archive)
    options = LoadOptions(name, run_options(words), timeout, keep_images, changed(limit))
    loaded = Loaded()
    session.tell_confinement()
    with session.store() as store:
        try:
            _load(session, store, archive, options, runtime_path, loaded)
        except (errors.ArstoreError, OSError):
            if loaded.image:
                _render(session, loaded)
            raise
    _render(session, loaded)


def _load(
    session: Session, store: Store, archive: str, options: LoadOptions, runtime_path: str | None, loaded: Loaded
) -> None:
    from arstore.pipeline.load import load as load_pipeline

    with session.progress() as progress, stdout_as_stderr():
        load_pipeline(store, archive, options, lambda: working_runtime(session, store, runtime_path), progress, loaded)


def _render(session: Session, loaded: Loaded) -> None:
    if session.json:
        write_json(_document(loaded))
        return
    write_line(loaded.image)
    for image in loaded.imported:
        write_line(image.digest, *image.names)
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
        "failed": [{"path": failure.path, "error": str(failure.error)} for failure in loaded.failed],
        "kept": list(loaded.kept),
    }
