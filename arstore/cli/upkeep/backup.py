"""`backup`: all images of a store that is in use, copied."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import (
    command,
    exit_statuses,
    json_option,
    progress_option,
)
from arstore.cli.parameter import FilePath, argument, option
from arstore.cli.terminal.output import human_size, write_json, write_line

if TYPE_CHECKING:
    from arstore.cli.session import Session


@exit_statuses(errors.ConflictError, errors.BackupRefusedError, errors.InUseError, errors.MissingBlobError)
@command("backup")
@argument("directory", metavar="DIR", type=FilePath())
@option("--verify", is_flag=True, help="Read what DIR has already, too, and copy again what has been altered.")
@option("--prune", is_flag=True, help="Remove from DIR what none of its images needs any more.")
@option("--replace", is_flag=True, help="Replace a backup of another store, or one that would lose images.")
@progress_option
@json_option
def backup(session: Session, directory: str, verify: bool, prune: bool, replace: bool) -> None:
    """Copy all images, with their names, to a directory.

    DIR becomes an OCI image layout with all that the store holds at this moment, whatever others do with the store
    meanwhile. Of what an earlier backup has brought there only what is missing is copied. `arstore import DIR` brings
    it into another store. Containers and what pipelines share are not part of it.

    DIR records the store. The next backup of that store forgets the images that were removed since, and prints how
    many. A store without images, another store, and one whose graph was made again since are refused, unless
    --replace is given.
    """
    from arstore.maintenance.backup import back_up

    with session.store() as store, session.progress("blob") as progress:
        report = back_up(store, directory, progress, verify=verify, prune=prune, replace=replace)
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
