"""`commit` and `diff`: the changes of containers, as an image or as a list."""

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
from arstore.cli.containers.diff_sizes import document, show_sizes
from arstore.cli.images.imports import besides, image_document, in_the_store
from arstore.cli.namespace import Need
from arstore.cli.parameter import ANY, Choice, Range, argument, option
from arstore.cli.terminal.output import printable, write_json, write_line, write_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.cli.session import Session

COMPRESSIONS = ("gzip", "zstd", "none")
"""Compressions of a new layer."""

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
    type=Choice(COMPRESSIONS),
    default="gzip",
    show_default=True,
    help="The compression of the new layer.",
)
@option(
    "--level",
    metavar="N",
    type=Range(int, min=1, max=22),
    help="The compression level: 1 to 9 for gzip, 1 to 22 for zstd.",
)
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
    with session.library() as store, session.progress("container") as progress:
        done = store.containers.commit(
            container_id,
            name,
            changes=changes,
            author=author,
            message=message,
            compression=compression,
            level=level,
            progress=progress,
        )
    session.done = in_the_store([done.image.digest])
    tell_of(session, "sockets left out, because an image cannot hold them:", done.sockets, done.socket_paths)
    if session.json:
        write_json({"images": [image_document(done.image)], **besides(done.moved, done.cleared)})
    else:
        write_line(done.image.digest, *done.image.names)


def tell_of(session: Session, text: str, count: int, paths: Sequence[str]) -> None:
    """Print a note about *count* entries that were left out, of which *paths* are the first."""
    if count:
        more = ", ..." if count > len(paths) else ""
        session.note(f"{text} {count}: {', '.join(paths)}{more}")


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
    with session.library(reads=True) as store, session.progress() as progress:
        found = store.diff(a, b, sizes=sizes, progress=progress)
    if sizes:
        show_sizes(session, found)
    elif session.json:
        write_json([document(difference) for difference in found])
    else:
        write_text("".join(f"{one.kind} {printable(one.path)}\n" for one in found))
