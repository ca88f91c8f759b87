"""`commit` and `diff`: what containers changed, as images and as lists."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from arstore import errors
from arstore.cli.command import (
    IMAGE_ERRORS,
    MOUNT_ERRORS,
    command,
    exit_statuses,
    json_option,
    progress_option,
)
from arstore.cli.containers.meaning import container_meant
from arstore.cli.images.created import creation_time
from arstore.cli.images.imports import besides, image_document, in_the_store
from arstore.cli.parameter import ANY, Choice, Range, argument, option
from arstore.cli.terminal.output import write_json, write_line, write_text
from arstore.errors import InUseError, NotFoundError, StoreDamagedError, UsageError

if TYPE_CHECKING:
    from arstore.cli.session import Session
    from arstore.oci.config import ImageConfig
    from arstore.rootfs.diff import Difference, Stack, Stacks
    from arstore.store.containers import Container
    from arstore.store.store import Store, StoredImage
    from arstore.trees.metadata import SkippedEntries

COMPRESSIONS = {"gzip": 9, "zstd": 22, "none": 0}
"""The compressions of a new layer, each with its highest level."""

_RUNTIME_FILES = ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf")

_LAYER_ERRORS = (
    errors.DigestMismatchError,
    errors.ManifestError,
    errors.MissingBlobError,
    errors.TarError,
    errors.UnsafePathError,
    errors.LimitError,
)


@exit_statuses(
    errors.NotFoundError, errors.AmbiguousError, errors.InvalidReferenceError, errors.InUseError, *_LAYER_ERRORS
)
@command("commit")
@argument("container_id", metavar="CONTAINER")
@argument("name")
@option("-c", "--change", "changes", metavar="TEXT", multiple=True, help="A change of the config.")
@option("-a", "--author", metavar="TEXT", type=ANY, default="", help="Who made the image.")
@option("-m", "--message", metavar="TEXT", type=ANY, default="", help="A comment for the image's history.")
@option("--compression", type=Choice(list(COMPRESSIONS)), default="gzip", show_default=True, help="Of the new layer.")
@option("--level", type=Range(int, min=1, max=22), help="The compression's level: 1 to 9 for gzip, 22 for zstd.")
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
    """Make an image of what a container changed.

    What the container wrote becomes one layer on top of its image's, also when it wrote nothing. --change takes
    instructions of a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR. The time of
    creation is SOURCE_DATE_EPOCH where that is set.

    Nothing may run in the container; its root may be mounted, and should not be written to meanwhile. Not in the
    layer: volumes, sockets, and the empty files and directories that a runtime made to mount something where the
    image has nothing.

    Prints a line: the digest and the name.
    """
    from arstore.oci.instruction import Instruction
    from arstore.rootfs.commit import CommitOptions
    from arstore.rootfs.commit import commit as commit_container
    from arstore.tar.compression import Compression

    if level is not None and level > COMPRESSIONS[compression]:
        raise UsageError(f"--level {level}", f"is none of {compression}'s levels")
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
        write_json({"images": [image_document(done.image)], **besides(store)})
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
        hint = f"`arstore kill {container.id}` ends it"
        raise InUseError(f"container {container.id}", "is running, and an image needs files that stay", hint)


def _mount_points(store: Store, container: Container) -> frozenset[bytes]:
    """Where a runtime mounts something in this container, as paths relative to its root."""
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
        session.note(f"an image cannot hold sockets, so it is without {sockets.count}: {paths}{more}")


@exit_statuses(*IMAGE_ERRORS, *MOUNT_ERRORS, errors.PlatformError, *_LAYER_ERRORS)
@command("diff")
@argument("a", metavar="IMAGE|CONTAINER")
@argument("b", metavar="[IMAGE|CONTAINER]", required=False)
@progress_option
@json_option
def diff(session: Session, a: str, b: str | None) -> None:
    """Tell what differs between root file systems.

    Of one container, what it changed in its image; of one image, what its top layer changed in those below; of two
    things, what makes the second of the first. A word that is both a container's id and an image's name means the
    container: NAME:TAG always means the image.

    Prints a line a path: A for what was added, C for what was changed, D for what was deleted. Of a deleted directory
    only itself is told. With --json, a list of {"path", "kind", "what"}: for C, `what` lists type, mode, owner, size,
    content, target, device, mtime and xattrs, as they differ. Bytes of a path that are no UTF-8 are lone surrogates in
    JSON (PEP 383). Which names are hard links to one file is not compared.
    """
    from arstore.rootfs.diff import differences, opened_stacks

    with session.store(reads=True) as store, opened_stacks(store) as stacks:
        first = _stack(session, store, stacks, a)
        found = differences(first[1:], first) if b is None else differences(first, _stack(session, store, stacks, b))
    if session.json:
        write_json([_document(difference) for difference in found])
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
    """The container that *text* means, if any, and the image that is meant or that it stands on."""
    container = container_meant(store, text)
    if container is None:
        return None, store.find_image(text)
    return container, store.find(container.record.image)


def _document(difference: Difference) -> dict[str, Any]:
    path = "/" + os.fsdecode(difference.path)
    return {"path": path, "kind": difference.change.value, "what": list(difference.what)}
