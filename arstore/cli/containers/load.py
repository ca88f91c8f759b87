"""`load`: import a pipeline image, run it, and import the images that it makes."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import (
    IMAGE_ERRORS,
    MOUNT_ERRORS,
    SOURCE_ERRORS,
    command,
    exit_statuses,
    json_option,
    limit_option,
    max_size_option,
    needing,
    progress_option,
    strict_xattrs_option,
)
from arstore.cli.containers.load_report import render
from arstore.cli.containers.options.limit import warn_of_limits
from arstore.cli.containers.options.new_container import warn_of_config, working_runtime
from arstore.cli.containers.options.shared import SECONDS, container_options, run_options
from arstore.cli.images.encryption import KEY_ERRORS, decryption_keys
from arstore.cli.images.imports import refuse_terminal
from arstore.cli.namespace import Need
from arstore.cli.parameter import argument, option
from arstore.cli.registries.missing import found_or_pulled, may_pull, pull_options
from arstore.cli.terminal.output import human_size, stdout_as_stderr, write_json, write_line
from arstore.cli.trust.rules import POLICY_ERRORS, policy_rules
from arstore.errors import UsageError

if TYPE_CHECKING:
    from typing import Any, Unpack

    from arstore.cli.containers.options.shared import ContainerWords
    from arstore.cli.registries.missing import PullWords
    from arstore.cli.session import Session
    from arstore.pipeline.load import Archive, InStore, Loaded, LoadOptions
    from arstore.pipeline.place import FailedRun
    from arstore.store.store import Store, StoredImage

    class _Words(ContainerWords, PullWords):
        """The options as they were typed, except those that choose what to load."""

        limit: tuple[str, ...]
        strict_xattrs: bool
        timeout: float | None
        total: float | None
        parts: tuple[str, ...]
        keep_images: bool
        rerun: bool
        resume: bool
        require_label: bool | None


@exit_statuses(
    *SOURCE_ERRORS,
    *KEY_ERRORS,
    *IMAGE_ERRORS,
    *MOUNT_ERRORS,
    errors.InUseError,
    errors.RuntimeMissingError,
    errors.RuntimeFailedError,
    errors.PortInUseError,
    errors.ImageConfigError,
    errors.IdentityError,
    errors.CommandNotFoundError,
    errors.CommandNotExecutableError,
    errors.PipelineFailedError,
    errors.PipelineTimeoutError,
    errors.PipelineRefusedError,
    errors.SubImageError,
    errors.BudgetError,
    *POLICY_ERRORS,
)
@needing(Need.CONTAINERS)
@command("load")
@argument("image", metavar="[NAME]", default="")
@option(
    "-i",
    "--input",
    "archive",
    metavar="FILE",
    default="",
    help="Load the pipeline image from this archive; - is stdin.",
)
@option(
    "--name",
    metavar="NAME[:TAG]",
    default="",
    help="Give the pipeline image this name instead of the name in the archive.",
)
@option("--timeout", metavar="S", type=SECONDS, help="Limit the whole command to this many seconds.")
@option("--timeout-total", "total", metavar="S", type=SECONDS, help="The same as --timeout.")
@option(
    "--timeout-part",
    "parts",
    metavar="PART=S",
    multiple=True,
    help="Limit a part: import (of the pipeline), run, or leavings (importing and clearing what it left).",
)
@option("--runtime", "runtime_path", metavar="PATH", help="Use this OCI runtime; by default the first that works.")
@option("--keep-images", is_flag=True, help="Do not empty the images directory after the import.")
@option(
    "--rerun", is_flag=True, help="Run the pipeline even if only the import of its last run's images is left to do."
)
@option(
    "--resume-leavings",
    "resume",
    is_flag=True,
    help="Keep what a failed run left in the images directory, for this run.",
)
@option("--discard-failed", "discard", is_flag=True, help="Only delete what failed runs of NAME left.")
@option("--dry-run", is_flag=True, help="With --discard-failed: only print what would be deleted.")
@option(
    "--require-label",
    "require_label",
    flag_value=True,
    default=None,
    help="Refuse an image without the label arstore.pipeline=true.",
)
@option(
    "--no-require-label",
    "require_label",
    flag_value=False,
    default=None,
    help="Run an image without the label, although config.toml says load.require-label = true.",
)
@container_options
@pull_options
@limit_option
@max_size_option
@strict_xattrs_option
@progress_option
@json_option
def load(
    session: Session,
    image: str,
    archive: str,
    name: str,
    runtime_path: str | None,
    discard: bool,
    dry_run: bool,
    **words: Unpack[_Words],
) -> None:
    """Import a pipeline image, run it, and import its images.

    The pipeline is an archive (-i FILE) or an image of the store (NAME). It runs once, with ROOT/pipelines and
    ROOT/NAME/images mounted at the same paths; ARSTORE_PIPELINES and ARSTORE_IMAGES contain these paths. Every archive
    and image directory that it leaves in ROOT/NAME/images is imported. When all of them are imported, the directory is
    emptied. To import an image without running it, use `arstore import`.

    If the run fails, nothing is deleted: the next load moves what it left to ROOT/NAME/failed and starts with an empty
    directory. If the run succeeds but something cannot be imported, the next load imports it first, without another
    run. Only one process at a time can load a pipeline; a second one is refused.

    Prints a line for each image, the pipeline's first: its digest and its names. The output of the pipeline itself goes
    to stderr.

    Example:

    arstore load -i pipeline.tar.gz
    """
    from arstore.pipeline.load import Archive, InStore, Loaded

    _refuse_contradictions(image, archive, name, discard, dry_run)
    if discard:
        _discard(session, image, dry_run)
        return
    if archive:
        refuse_terminal(archive)
    options = _options(session, words)
    loaded = Loaded()
    session.tell_confinement()
    source = Archive(archive, name) if archive else InStore(image, partial(_find, session, words))
    with session.store(create=bool(archive) or may_pull(image, words), makes=True) as store:
        warn_of_limits(session, options.container)
        try:
            _load(session, store, source, options, runtime_path, loaded)
        except (errors.ArstoreError, OSError):
            if loaded.image:
                render(session, store, loaded, options)
            raise
    render(session, store, loaded, options)


def _refuse_contradictions(image: str, archive: str, name: str, discard: bool, dry_run: bool) -> None:
    if bool(image) == bool(archive):
        raise UsageError(
            "load",
            "give either -i FILE or the NAME of an image of the store, which is then run",
            "use `arstore import FILE` to import an archive without running an image",
        )
    if not discard and (dry_run or (name and image)):
        raise UsageError("load", "--dry-run goes with --discard-failed" if dry_run else "--name goes with -i FILE")


def _options(session: Session, words: _Words) -> LoadOptions:
    from arstore.pipeline.load import LoadOptions

    limits = session.limits(words["limit"], strict_xattrs=words["strict_xattrs"])
    keys = decryption_keys(session, words)
    whole = min((seconds for seconds in (words["timeout"], words["total"]) if seconds is not None), default=None)
    return LoadOptions(
        run_options(words),
        whole,
        _timeouts(words["parts"]),
        words["keep_images"],
        words["rerun"],
        words["resume"],
        session.requires_label(words["require_label"]),
        limits,
        keys,
        policy_rules(session, words),
    )


def _find(session: Session, words: _Words, store: Store, text: str) -> StoredImage:
    return found_or_pulled(session, store, text, words)


def _timeouts(texts: tuple[str, ...]) -> dict[str, float]:
    """Return the seconds by name of the part. Raises UsageError."""
    from arstore.pipeline.clock import PARTS

    found = {}
    for text in texts:
        name, _, seconds = text.partition("=")
        if name not in PARTS:
            raise UsageError(f"--timeout-part {text}", "is not a part", f"the parts are {', '.join(PARTS)}")
        try:
            found[name] = float(str(SECONDS.read(seconds)))
        except ValueError:
            raise UsageError(f"--timeout-part {text}", "is not a number of seconds", f"write {name}=60") from None
    return found


def _load(
    session: Session,
    store: Store,
    source: Archive | InStore,
    options: LoadOptions,
    runtime_path: str | None,
    loaded: Loaded,
) -> None:
    from arstore.pipeline.load import load as load_pipeline

    def runtime(timeout: float | None) -> Any:  # noqa: ANN401 - a Runtime, whose module is not loaded yet
        warn_of_config(session, store, store.find(loaded.image))
        return working_runtime(session, store, runtime_path, cgroups=options.container.cgroups, timeout=timeout)

    with session.progress() as progress, stdout_as_stderr():
        load_pipeline(store, source, options, runtime, progress, loaded, session.note)


def _discard(session: Session, image: str, dry_run: bool) -> None:
    """Delete what failed runs of the pipeline called *image* left; with *dry_run*, only print it."""
    from arstore.oci.reference import parse_name
    from arstore.pipeline.place import discard, failed_runs, images_directory

    with session.store() as store:
        place = os.path.dirname(images_directory(store.directories.root, "", (str(parse_name(image)),)))
        if not os.path.isdir(place):
            hint = f"failed runs are kept in {store.directories.root}/NAME/failed"
            raise errors.NotFoundError(image, "no pipeline of this name has run", hint)
        runs: list[FailedRun] = failed_runs(place)
        if not dry_run:
            discard(runs)
    if session.json:
        write_json({"discarded": [run._asdict() for run in runs], "bytes": sum(run.size for run in runs)})
        return
    for run in runs:
        write_line(*(["would delete"] if dry_run else []), run.path, human_size(run.size))
