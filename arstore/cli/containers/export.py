"""`export`: write the root file system of a container or an image as a tar."""

from __future__ import annotations

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
from arstore.cli.containers.meaning import container_meant
from arstore.cli.namespace import Need
from arstore.cli.parameter import argument, option
from arstore.cli.terminal.output import write_json

if TYPE_CHECKING:
    from arstore.cli.session import Session
    from arstore.trees.metadata import SkippedEntries


@exit_statuses(
    *IMAGE_ERRORS,
    *MOUNT_ERRORS,
    errors.ConflictError,
    errors.InUseError,
    errors.PlatformError,
    errors.MissingBlobError,
    errors.DigestMismatchError,
    errors.TarError,
    errors.LimitError,
)
@needing(Need.READING)
@command("export")
@argument("what", metavar="CONTAINER|IMAGE")
@option("-o", "--output", metavar="FILE", default="-", help="Write to FILE; - is stdout, the default.")
@progress_option
@json_option
def export(session: Session, what: str, output: str) -> None:
    """Write a container's root file system as a tar.

    The tar contains the files that a mount would show, with owners, modes, times, extended attributes, devices, hard
    links and holes, always in the same order. It has no layers and no image documents, and does not contain what is
    mounted in the container, such as volumes. The container may be running; files that it changes meanwhile may or may
    not be included. For an image, it is the root file system that a new container would have. FILE is replaced only
    when the new one is complete.

    Prints nothing but the tar; sockets, which a tar cannot hold, are reported on stderr.

    Example:

    arstore export web | arstore import --rootfs - web-flat:1
    """
    from arstore.rootfs.export import Export
    from arstore.transport.sinks.archive import ArchiveFile, refuse_terminal

    if not output:
        raise errors.UsageError("--output", "is empty", "give a file, or - for stdout")
    refuse_terminal(output)
    with session.store(reads=True) as store:
        container = container_meant(store, what)
        image = store.find_image(what) if container is None else store.find(container.record.image)
        done = Export(store, image, container)
        with session.progress("root file system") as progress, ArchiveFile(output) as archive:
            progress.start(what, what, None)

            def write(data: bytes | memoryview) -> None:
                archive.write(data)
                progress.advance(what, len(data))

            done.write(write)
            archive.finish()
            progress.finish(what)
    _tell_of(session, "sockets left out, because a tar cannot hold them:", done.sockets)
    _tell_of(session, "names that begin with .wh., which mean removals if the tar is used as a layer:", done.marks)
    if session.json and output != "-":
        write_json(
            {
                "container": None if container is None else container.id,
                "image": image.digest,
                "path": output,
                "members": done.members,
                "sockets": done.sockets.count,
            }
        )


def _tell_of(session: Session, text: str, entries: SkippedEntries) -> None:
    if entries.count:
        from arstore.tar.entry import shown

        more = ", ..." if entries.count > len(entries.paths) else ""
        session.note(f"{text} {entries.count}: {', '.join(f'/{shown(path)}' for path in entries.paths)}{more}")
