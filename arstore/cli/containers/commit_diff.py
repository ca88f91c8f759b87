"""`commit` and `diff`: the changes of containers, as an image or as a list."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import (
    IMAGE_ERRORS,
    MOUNT_ERRORS,
    command,
    exit_statuses,
    json_option,
    needing,
    progress_option,
)
from arstore.cli.containers.diff_sizes import document, show_sizes
from arstore.cli.containers.meaning import container_meant
from arstore.cli.images.imports import besides, image_document, in_the_store
from arstore.cli.namespace import Need
from arstore.cli.parameter import ANY, Choice, Range, argument, option
from arstore.cli.terminal.output import write_json, write_line, write_text
from arstore.errors import InUseError, NotFoundError, StoreDamagedError, UsageError
from arstore.oci.timestamp import creation_time

if TYPE_CHECKING:
    from arstore.cli.session import Session
    from arstore.oci.config import ImageConfig
    from arstore.rootfs.diff import Stack, Stacks
    from arstore.store.containers import Container
    from arstore.store.store import Store, StoredImage
    from arstore.trees.metadata import SkippedEntries

COMPRESSIONS = {"gzip": 9, "zstd": 22, "none": 0}
"""Compressions of a new layer, each with its highest level."""

_RUNTIME_FILES = ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/run/.containerenv")

_LAYER_ERRORS = (
    errors.DigestMismatchError,
    errors.ManifestError,
    errors.MissingBlobError,
    errors.TarError,
    errors.UnsafePathError,
    errors.LimitError,
)


@exit_statuses(
    errors.NotFoundError,
    errors.AmbiguousError,
    errors.InvalidReferenceError,
    errors.InUseError,
    errors.BudgetError,
    *_LAYER_ERRORS,
)
@needing(Need.READING)
@command("commit")
@argument("container_id", metavar="CONTAINER")
@argument("name")
@option(
    "-c",
    "--change",
    "changes",
    metavar="TEXT",
    multiple=True,
    help="Apply a Dockerfile instruction to the config; repeatable.",
)
@option("-a", "--author", metavar="TEXT", type=ANY, default="", help="Set the author of the image.")
@option("-m", "--message", metavar="TEXT", type=ANY, default="", help="Set the comment in the image's history.")
@option(
    "--compression",
    type=Choice(list(COMPRESSIONS)),
    default="gzip",
    show_default=True,
    help="The compression of the new layer.",
)
@option("--level", type=Range(int, min=1, max=22), help="The compression level: 1 to 9 for gzip, 1 to 22 for zstd.")
@progress_option
@json_option
def commit(
    session: Session,
    container_id: str,
    name: str,
    changes: tuple[str, ...],
    author: str,
    message: str,
    compression: str,
    level: int | None,
) -> None:
    """Create an image from a container's changes.

    What the container wrote becomes one layer on top of its image's layers, even if it wrote nothing. --change takes
    instructions of a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR. The creation
    time is SOURCE_DATE_EPOCH if that is set.

    The container must not be running. Its root may be mounted, but should not be written to meanwhile. The layer does
    not contain volumes, sockets, or the empty files and directories that a runtime created as mount points.

    Prints the digest of the image and its name.

    Example:

    arstore commit box app:2 --change 'CMD ["/bin/app"]'
    """
    from arstore.oci.instruction import Instruction
    from arstore.rootfs.commit import CommitOptions
    from arstore.rootfs.commit import commit as commit_container
    from arstore.tar.compression import Compression

    if level is not None and level > COMPRESSIONS[compression]:
        raise UsageError(f"--level {level}", f"is not a level of {compression}")
    instructions = tuple(Instruction.parse(text) for text in changes)
    created = creation_time()
    with session.store() as store:
        container = store.containers.find(container_id)
        _require_stopped(container)
        options = CommitOptions(
            name,
            created,
            Compression(compression),
            level,
            author,
            message,
            instructions,
            _mount_points(store, container),
        )
        with session.progress("container") as progress:
            done = commit_container(store, container, options, progress)
    session.done = in_the_store([done.image.digest])
    _tell_of_sockets(session, done.sockets)
    if session.json:
        from arstore.api.importing import imported_images

        write_json({"images": list(map(image_document, imported_images([done.image]))), **besides(store)})
    else:
        write_line(done.image.digest, *done.image.names)


def _require_stopped(container: Container) -> None:
    from arstore.runtime.lifecycle.containers import container_is_owned
    from arstore.runtime.lifecycle.state import status

    try:
        running = status(container.path).is_running
    except (NotFoundError, StoreDamagedError):
        running = False
    if running or container_is_owned(container):
        hint = f"stop it with `arstore stop {container.id}`"
        raise InUseError(f"container {container.id}", "is running, so its files may change", hint)


def _mount_points(store: Store, container: Container) -> frozenset[bytes]:
    """Return the mount points of this container, as paths relative to its root."""
    from arstore.runtime.lifecycle.state import status
    from arstore.runtime.spec.defaults import mounts

    config: ImageConfig = store.config(store.find(container.record.image))
    places = [*(str(mount["destination"]) for mount in mounts()), *_RUNTIME_FILES, *config.volumes]
    with suppress(NotFoundError, StoreDamagedError):
        places += status(container.path).mount_points
    return frozenset(os.fsencode(os.path.normpath("/" + place).lstrip("/")) for place in places)


def _tell_of_sockets(session: Session, sockets: SkippedEntries) -> None:
    if sockets.count:
        paths = ", ".join("/" + os.fsdecode(path) for path in sockets.paths)
        more = ", ..." if sockets.count > len(sockets.paths) else ""
        session.note(f"sockets left out, because an image cannot hold them: {sockets.count}: {paths}{more}")


@exit_statuses(*IMAGE_ERRORS, *MOUNT_ERRORS, errors.PlatformError, *_LAYER_ERRORS)
@needing(Need.READING)
@command("diff")
@argument("a", metavar="IMAGE|CONTAINER")
@argument("b", metavar="[IMAGE|CONTAINER]", required=False)
@option("-s", "--sizes", is_flag=True, help="Also show bytes of files, and their totals.")
@progress_option
@json_option
def diff(session: Session, a: str, b: str | None, sizes: bool) -> None:
    """Show the differences between root file systems.

    With one container: what it changed in its image. With one image: what its top layer changed in the layers below.
    With two arguments: what turns the first into the second. If a word is both a container's id and an image's name, it
    means the container; NAME:TAG always means the image.

    Prints a line for each path: A for added, C for changed, D for deleted. For a deleted directory only the directory
    is printed. With --json, prints a list of {"path", "kind", "what"}; for C, `what` lists which of type, mode, owner,
    size, content, target, device, mtime and xattrs differ. Bytes of a path that are not UTF-8 are lone surrogates in
    JSON (PEP 383). Hard links are not compared.

    With --sizes, each line also has the bytes before and after, and a last line the totals of added, changed and
    deleted paths. Of a directory that is deleted or replaced, the bytes of all files in it count. Each name of a file
    with hard links counts. JSON is then an object with `changes` and `totals`.

    Example:

    arstore diff app:1 app:2
    """
    from arstore.rootfs.diff import differences, opened_stacks

    with session.store(reads=True) as store, opened_stacks(store) as stacks:
        first = _stack(session, store, stacks, a)
        pair = (first[1:], first) if b is None else (first, _stack(session, store, stacks, b))
        found = differences(*pair, sizes)
    if sizes:
        show_sizes(session, found)
        return
    if session.json:
        write_json([document(difference) for difference in found])
        return
    from arstore.tar.entry import shown

    write_text("".join(f"{difference.change.value} /{shown(difference.path)}\n" for difference in found))


def _stack(session: Session, store: Store, stacks: Stacks, text: str) -> Stack:
    container, image = _container_or_image(store, text)
    with session.progress() as progress:
        if container is None:
            return stacks.image(image, progress)
        return stacks.container(container, _mount_points(store, container), progress)


def _container_or_image(store: Store, text: str) -> tuple[Container | None, StoredImage]:
    """Return the container that *text* names, or None, and its image or the image that *text* names."""
    container = container_meant(store, text)
    if container is None:
        return None, store.find_image(text)
    return container, store.find(container.record.image)
