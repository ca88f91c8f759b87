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
from arstore.cli.containers.commit_diff import tell_of
from arstore.cli.namespace import Need
from arstore.cli.parameter import argument, option
from arstore.cli.terminal.output import write_json

if TYPE_CHECKING:
    from arstore.cli.session import Session


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
    from arstore.transport.sinks.archive import refuse_terminal

    if not output:
        raise errors.UsageError("--output", "is empty", "give a file, or - for stdout")
    refuse_terminal(output)
    with session.library(reads=True) as store, session.progress("root file system") as progress:
        done = store.export(what, output, progress)
    sockets = "sockets left out, because a tar cannot hold them:"
    tell_of(session, sockets, done.sockets, done.socket_paths)
    marks = "names that begin with .wh., which mean removals if the tar is used as a layer:"
    tell_of(session, marks, done.marks, done.mark_paths)
    if session.json and output != "-":
        write_json(
            {
                "container": done.container or None,
                "image": done.image,
                "path": output,
                "members": done.members,
                "sockets": done.sockets,
            }
        )
