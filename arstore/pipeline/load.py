"""One run of a pipeline: import an image, run it once, import the images that it left, clean up.

    <root>/pipelines/               shared by all pipelines, to exchange files with the host
    <root>/<image name>/images/     where this pipeline leaves its images

Both are mounted into the container at the same paths, and named by ARSTORE_PIPELINES and ARSTORE_IMAGES. From before
the run until after the clean-up, no other `load` of the same pipeline runs (`turn`).

While its images are imported, no other process can reach them (`custody`). Images of a run that was killed, or ended
with a status other than 0, are set aside, unread, before the next one starts (`place`). Images of a run that ended with
0, but whose import failed or was killed, are imported by the next `load`, without running the container again. Nothing
is deleted before it is imported durably.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from arstore.disk.paths import opened
from arstore.errors import (
    ArstoreError,
    CommandNotFoundError,
    ImageConfigError,
    InvalidReferenceError,
    LimitError,
    PipelineFailedError,
    PipelineRefusedError,
    SubImageError,
    from_os_error,
)
from arstore.oci.reference import parse_name
from arstore.pipeline.clock import IMPORT, LEAVINGS, Clock
from arstore.pipeline.custody import Custody, give_back
from arstore.pipeline.leavings import Seen, find_leavings, opened_leaving
from arstore.pipeline.place import (
    ENDED,
    KEPT,
    RUNNING,
    forget_last,
    images_directory,
    is_empty,
    last_run,
    made,
    set_aside,
    write_last,
)
from arstore.pipeline.turn import only_load
from arstore.runtime.lifecycle.containers import RunRequest, run
from arstore.runtime.spec.command import container_args
from arstore.runtime.spec.options import RunOptions, Volume
from arstore.tar.entry import shown
from arstore.tar.limits import DEFAULT_LIMITS, Limits
from arstore.trace import reached
from arstore.transport.copy import ImportOptions, import_opened, import_reference
from arstore.transport.detect import open_source_fd
from arstore.transport.skipped import SkippedTop
from arstore.trust.rules import Rules
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from arstore.pipeline.leavings import Leaving
    from arstore.runtime.driver import Runtime
    from arstore.store.ingest.incoming import TakenImage
    from arstore.store.progress import Progress
    from arstore.store.store import Store, StoredImage
    from arstore.transport.decryption.keys import DecryptionKeys
    from arstore.transport.source import ImageSource, Spool

LABEL = "arstore.pipeline"
"""The label, with the value `true`, of images that are made for `load`."""

_PATIENCE, _PAUSE = 5.0, 0.01
"""Seconds to wait for the container of a killed `load`, and seconds between two checks."""


class Archive(NamedTuple):
    """A pipeline in an archive: a path or `-`, and the *name* for an image that has none."""

    reference: str
    name: str = ""


class InStore(NamedTuple):
    """A pipeline that is already in the store, given by a name, a digest or the start of one.

    *find* gets the store and the text, and may import the image; `Store.find_image` by default.
    """

    text: str
    find: Callable[[Store, str], StoredImage] | None = None


@dataclass(slots=True, frozen=True)
class LoadOptions:
    """How to load.

    `container` has the container's options, without the two directories and their variables. `timeout` is the limit in
    seconds for everything, `timeouts` has limits for parts, by their names in `clock.PARTS`. `rerun` runs a pipeline
    again whose last run has succeeded; `resume` keeps a failed run's files in place. `require_label` refuses an image
    without LABEL. The library takes what is configured where `require_label` or `limits` is None. `keys` decrypt layers
    of the pipeline image, but not of the images that it leaves. `rules` name the signature policy for both.
    """

    container: RunOptions = field(default_factory=RunOptions)
    timeout: float | None = None
    timeouts: Mapping[str, float] = field(default_factory=dict)
    keep_images: bool = False
    rerun: bool = False
    resume: bool = False
    require_label: bool | None = None
    limits: Limits | None = None
    keys: DecryptionKeys | None = None
    rules: Rules | None = None


@dataclass(slots=True, frozen=True)
class Failure:
    """A file in the images directory that could not be imported; *path* is relative to that directory."""

    path: str
    error: ArstoreError


@dataclass(slots=True)
class Loaded:
    """The results of a load, filled in as it proceeds, so that a failure can be reported with all that was done."""

    image: str = ""
    names: tuple[str, ...] = ()
    container: str = ""
    exit_code: int | None = None
    oom_killed: bool = False
    """Whether the kernel killed a process of the pipeline because memory ran out."""
    has_run: bool = False
    """Whether the container was run: not if the last run had succeeded, and only its images were left to import."""
    imported: tuple[TakenImage, ...] = ()
    failed: tuple[Failure, ...] = ()
    kept: tuple[str, ...] = ()
    """Paths below the images directory that were added or changed after they had been read."""
    skipped: dict[str, SkippedTop] = field(default_factory=dict)
    """Skipped entries, by the path that contains them: the pipeline's archive, or a path below the directory."""
    set_aside: str = ""
    """Where the files of an earlier run were moved; "" if there were none."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Duration of each part: `import` of the pipeline, `run`, `leavings`."""

    def skipped_in(self, path: str) -> SkippedTop:
        """Return the report of skipped entries in *path*."""
        return self.skipped.setdefault(path, SkippedTop())

    @property
    def label(self) -> str:
        """The name of the pipeline for messages."""
        return self.names[0] if self.names else self.image


def load(
    store: Store,
    source: Archive | InStore,
    options: LoadOptions,
    runtime: Callable[[float | None], Runtime],
    progress: Progress | None = None,
    loaded: Loaded | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> Loaded:
    """Run the pipeline image *source* once, import the images that it leaves, and empty its images directory.

    *runtime* finds the OCI runtime within the given seconds. *loaded* is filled in along the way; *note* is called with
    a line that announces the run. Raises the errors of importing and running, NotFoundError, InUseError if another
    process loads the same pipeline, PipelineRefusedError for an image without the label, PipelineFailedError if the
    container ends with a status other than 0, PipelineTimeoutError, and SubImageError if one of its images could not be
    imported.
    """
    loaded = Loaded() if loaded is None else loaded
    clock = Clock(options.timeout, options.timeouts, loaded.seconds)
    with clock.part(IMPORT, "importing the pipeline"):
        image = _pipeline(store, source, options, progress, loaded)
    reached("load.imported")
    labels = store.config(image).labels
    if options.require_label and labels.get(LABEL) != "true":
        why = f"does not have the label {LABEL}=true, which --require-label demands"
        raise PipelineRefusedError(loaded.label, why)
    _require_command(store, image, options, loaded.label)
    root = store.directories.root
    directory = _directory(root, source, loaded)
    place = os.path.dirname(directory)
    with made(root, place) as place_fd, only_load(place_fd, loaded.label):
        for path in (f"{root}/pipelines", directory):
            with made(root, path):
                pass
        reached("load.directories-made")
        with clock.between("waiting for the container of a load that was killed"):
            _await_killed(store)
        work = _Work(store, directory, place_fd, options, progress, loaded, clock)
        work.recover()
        if work.is_left_to_import():
            work.take_leavings(again=True)
            if not options.rerun and not loaded.failed and work.was_of(loaded.image):
                return loaded
        elif not options.resume and not work.is_kept() and not is_empty(place_fd):
            loaded.set_aside = set_aside(place, place_fd)
            reached("load.set-aside")
        if labels.get(LABEL) != "true":
            note(_announcement(store, image, options, loaded.label))
        work.run(image, runtime)
        work.take_leavings()
    return loaded


def _pipeline(
    store: Store, source: Archive | InStore, options: LoadOptions, progress: Progress | None, loaded: Loaded
) -> StoredImage:
    """Return the pipeline's image, after importing it if necessary; *loaded* gets its digest and names."""
    if isinstance(source, InStore):
        found = store.find_image(source.text) if source.find is None else source.find(store, source.text)
        if source.find is None:
            _require_admitted(store, found, options)
        # The name that was typed comes first: it decides where the pipeline leaves its images.
        names = dict.fromkeys((found.label, *found.names)) if found.names else ()
        loaded.image, loaded.names = found.digest, tuple(name for name in names if name in found.names)
        return found
    if source.name:
        # Check before anything is imported under a name that a pipeline cannot have.
        images_directory(store.directories.root, "", (str(parse_name(source.name)),))
    wanted = ImportOptions(
        name=source.name, single=True, limits=options.limits or DEFAULT_LIMITS, keys=options.keys, rules=options.rules
    )
    (taken,) = import_reference(store, source.reference, wanted, progress, loaded.skipped_in(source.reference))
    loaded.image, loaded.names = taken.digest, taken.names
    return store.find(taken.digest)


def _require_admitted(store: Store, image: StoredImage, options: LoadOptions) -> None:
    rules = options.rules or Rules()
    if not rules.is_open:
        from arstore.transport.admission.kept import require_admitted

        require_admitted(store, image, rules)


def _directory(root: str, source: Archive | InStore, loaded: Loaded) -> str:
    """Return the images directory. If the image was not given by name, use its first name that fits.

    Raises InvalidReferenceError.
    """
    try:
        return images_directory(root, loaded.image, loaded.names)
    except InvalidReferenceError as error:
        if isinstance(source, Archive):
            raise
        if _is_name(source.text, loaded):
            hint = f"give the image another name with `arstore tag {source.text} NAME`, and load that"
            raise InvalidReferenceError(error.what, error.why, hint) from error
    for name in loaded.names[1:]:
        with suppress(InvalidReferenceError):
            return images_directory(root, loaded.image, (name,))
    return images_directory(root, loaded.image, ())


def _is_name(text: str, loaded: Loaded) -> bool:
    """Whether *text* is one of the image's names."""
    try:
        return str(parse_name(text)) in loaded.names
    except InvalidReferenceError:
        return False


def _announcement(store: Store, image: StoredImage, options: LoadOptions, label: str) -> str:
    """Return one line for users who expect `load` to only import, as in other tools."""
    config = store.config(image)
    user = config.user if options.container.user is None else options.container.user
    command = " ".join(container_args(config, options.container))
    return f"{label}: running `{shown(command.encode())}` as {user or 'root'}; `arstore import` only imports"


def _merged(images: Iterable[TakenImage]) -> tuple[TakenImage, ...]:
    """Return each image once, with all its names."""
    found: dict[str, TakenImage] = {}
    for image in images:
        first = found.setdefault(image.digest, image)
        found[image.digest] = first._replace(names=tuple(dict.fromkeys((*first.names, *image.names))))
    return tuple(found.values())


def _require_command(store: Store, image: StoredImage, options: LoadOptions, label: str) -> None:
    """Raise ImageConfigError for an image without a command, because `load` has no option for one."""
    try:
        container_args(store.config(image), options.container)
    except CommandNotFoundError as error:
        why = "the image has neither an entrypoint nor a command, so it is not a pipeline"
        raise ImageConfigError(label, why, "it is in the store; `arstore run` accepts a command") from error


def _await_killed(store: Store) -> None:
    """Wait until the containers of killed processes have ended: one may still write to this pipeline's directory."""
    from arstore.disk.cgroups import is_populated

    patience = time.monotonic() + _PATIENCE
    while time.monotonic() < patience and any(c.abandoned and is_populated(c.path) for c in store.containers.list()):
        time.sleep(_PAUSE)


def _kept(images_fd: int) -> tuple[str, ...]:
    """List the images directory, to which a process outside may still be adding."""
    try:
        return tuple(shown(leaving.path) for leaving in find_leavings(images_fd))
    except LimitError as error:
        return (f"images directory, which {error.why}",)


class _Work:
    """The work in one pipeline's directory, done while holding its lock."""

    def __init__(
        self,
        store: Store,
        directory: str,
        place_fd: int,
        options: LoadOptions,
        progress: Progress | None,
        loaded: Loaded,
        clock: Clock,
    ) -> None:
        self._store = store
        self._directory = directory
        self._place_fd = place_fd
        self._options = options
        self._progress = progress
        self._loaded = loaded
        self._clock = clock
        self._last = last_run(place_fd)

    def recover(self) -> None:
        """Move back the files that a killed load had taken. Raises OSError."""
        with opened(self._directory) as fd:
            give_back(self._place_fd, fd)

    def is_left_to_import(self) -> bool:
        """Whether the last run has succeeded, and its images are still to be imported."""
        return self._last.has_ended and not is_empty(self._place_fd)

    def is_kept(self) -> bool:
        """Whether the files were imported, and kept on request."""
        return self._last.was_kept

    def was_of(self, digest: str) -> bool:
        """Whether the last run was of this image."""
        return self._last.image == digest

    def run(self, image: StoredImage, runtime: Callable[[float | None], Runtime]) -> None:
        """Run the container to its end. Raises PipelineFailedError, and the errors of running."""
        loaded = self._loaded
        with self._clock.between("completing the layers of the pipeline"):
            trees = tuple(self._store.stack_records(image, self._progress))

        def created(container_id: str) -> None:
            loaded.container = container_id

        with self._clock.running() as left:
            found = runtime(left)
            request = RunRequest(
                image=image,
                options=self._run_options(),
                runtime=found,
                timeout=self._clock.left(),
                stops_on_term=True,
                trees=trees,
            )
            write_last(self._place_fd, RUNNING, loaded.image)
            reached("load.running")
            ended = run(self._store, request, created)
        loaded.exit_code, loaded.oom_killed, loaded.has_run = ended.status, ended.oom_killed, True
        if loaded.exit_code != 0:
            why = f"the pipeline ended with status {loaded.exit_code}"
            raise PipelineFailedError(loaded.label, why, f"its files are in {self._directory}")
        write_last(self._place_fd, ENDED, loaded.image)
        reached("load.ran")

    def _run_options(self) -> RunOptions:
        asked, directory = self._options.container, self._directory
        pipelines = f"{self._store.directories.root}/pipelines"
        return asked._replace(
            env=(f"ARSTORE_PIPELINES={pipelines}", f"ARSTORE_IMAGES={directory}", *asked.env),
            volumes=(Volume(pipelines, pipelines), Volume(directory, directory), *asked.volumes),
            owned=(directory,),
        )

    def take_leavings(self, again: bool = False) -> None:
        """Import everything in the images directory, and empty it.

        *again* means images of an earlier run. Raises SubImageError if something could not be imported. With --rerun,
        and after a power cut, the files are set aside instead, because the pipeline can make them again.
        """
        loaded, options = self._loaded, self._options
        with self._clock.part(LEAVINGS, "looking for its images"), opened(self._directory) as images_fd:
            with Custody(self._place_fd, images_fd) as held:
                seen = Seen()
                failed = self._import_all(held, seen)
                if failed and not (again and (options.rerun or self._last.may_be_torn)):
                    raise self._failure(failed)
                if not options.keep_images and not failed:
                    self._clock.doing = "clearing"
                    reached("load.clearing")
                    held.clear(seen)
                    reached("load.cleared")
            if not options.keep_images and not failed:
                loaded.kept = _kept(images_fd)
        if failed:
            place = os.path.dirname(self._directory)
            loaded.set_aside = set_aside(place, self._place_fd)
        if options.keep_images and not failed:
            write_last(self._place_fd, KEPT, loaded.image)
        else:
            forget_last(self._place_fd)

    def _import_all(self, held: Custody, seen: Seen) -> tuple[Failure, ...]:
        """Import everything; return the failures."""
        loaded = self._loaded
        imported: list[TakenImage] = []
        failed: list[Failure] = []
        try:
            for leaving in held.leavings(seen):
                what = shown(leaving.path)
                self._clock.doing = f"importing {what}"
                try:
                    imported.extend(self._import(held.fd, leaving, seen))
                    reached("load.image-taken")
                except ArstoreError as error:
                    failed.append(Failure(what, error))
                except OSError as error:
                    failed.append(Failure(what, from_os_error(error, what)))
        finally:
            # Also after a timeout: images that are already in the store are reported.
            loaded.imported, loaded.failed = _merged((*loaded.imported, *imported)), tuple(failed)
        return loaded.failed

    def _failure(self, failed: tuple[Failure, ...]) -> SubImageError:
        first = failed[0]
        more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
        why = f"could not be imported: {first.error}{more}"
        hint = f"nothing was deleted, everything is in {self._directory}; --rerun sets it aside and runs again"
        return SubImageError(first.path, why, hint)

    def _import(self, directory_fd: int, leaving: Leaving, seen: Seen) -> list[TakenImage]:
        what = shown(leaving.path)
        if leaving.refusal:
            raise SubImageError(what, leaving.refusal)
        limits = self._options.limits or DEFAULT_LIMITS
        with opened_leaving(directory_fd, leaving, seen) as fd:

            def source(spool: Spool) -> ImageSource:
                return open_source_fd(fd, what, spool, os.fsdecode(leaving.parts[-1]), limits)

            skipped = self._loaded.skipped_in(what)
            # Names in the archive come from the container: a policy knows these images by the directory.
            wanted = ImportOptions(limits=limits, rules=self._options.rules, place=self._directory)
            return import_opened(self._store, source, wanted, self._progress, skipped)
