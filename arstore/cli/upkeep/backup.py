"""`backup`: copy all images of a store, even while it is in use."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import command, exit_statuses, json_option, needing, progress_option
from arstore.cli.namespace import Need
from arstore.cli.parameter import FilePath, argument, option
from arstore.cli.terminal.output import human_size, write_json, write_line

if TYPE_CHECKING:
    from arstore.cli.session import Session


@exit_statuses(errors.ConflictError, errors.BackupRefusedError, errors.InUseError, errors.MissingBlobError)
@needing(Need.REMOVAL)
@command("backup")
@argument("directory", metavar="DIR", type=FilePath())
@option("--verify", is_flag=True, help="Also read the blobs that DIR already has, and copy altered ones again.")
@option("--prune", is_flag=True, help="Remove blobs from DIR that none of its images needs.")
@option("--replace", is_flag=True, help="Replace the backup even if it belongs to another store or would lose images.")
@progress_option
@json_option
def backup(session: Session, directory: str, verify: bool, prune: bool, replace: bool) -> None:
    """Copy all images, with their names, to a directory.

    DIR becomes an OCI layout with everything that the store has at this moment; other commands may use the store
    meanwhile. Only what DIR does not have is copied. `arstore import --all-platforms DIR` restores it into any store.
    Containers and the shared directory of pipelines are not included.

    DIR records which store it belongs to. The next backup of that store also drops the images that were removed since,
    and prints how many. A backup of an empty store, of another store, or of a store whose graph was rebuilt since is
    refused, unless --replace is given.

    Prints one line: how many images and blobs DIR has, and how many blobs were copied.

    Example:

    arstore backup --verify --prune /mnt/disk/images
    """
    with session.library() as store, session.progress("blob") as progress:
        report = store.backup(directory, verify=verify, prune=prune, replace=replace, progress=progress)
    session.done = f"{directory} has all {report.images} images"
    if session.json:
        write_json(dataclasses.asdict(report))
        return
    pruned = f", {report.pruned} removed" if prune else ""
    forgotten = ""
    if report.forgotten_images or report.forgotten_names:
        forgotten = f"; no longer in it: images {report.forgotten_images}, names {report.forgotten_names}"
    copied = f"{report.copied} copied ({human_size(report.bytes)})"
    write_line(f"images {report.images}, blobs {report.blobs}: {copied}{pruned}{forgotten}")
