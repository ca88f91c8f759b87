"""`tag`, `untag` and `rm`: add and remove names, and remove images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import IMAGE_ERRORS, MOUNT_ERRORS, command, exit_statuses, json_option, needing
from arstore.cli.namespace import Need
from arstore.cli.parameter import argument, option
from arstore.cli.terminal.output import write_json, write_line

if TYPE_CHECKING:
    from arstore.cli.session import Session


@exit_statuses(*IMAGE_ERRORS)
@command("tag")
@argument("image")
@argument("name")
@json_option
def tag(session: Session, image: str, name: str) -> None:
    """Give an image a name.

    NAME is REPOSITORY[:TAG]; the default tag is latest. If NAME is already used by another image, it moves to this one,
    and the digest of the other image is printed to stderr.

    Example:

    arstore tag app:1 app:stable
    """
    from arstore.api.methods.images import ImageMethods

    with session.opened(ImageMethods, makes=True) as library:
        done = library.tag(image, name)
    session.done = f"the image is named {done.name}"
    if session.json:
        write_json({"name": done.name, "digest": done.digest, **({"was": done.was} if done.was else {})})


@exit_statuses(errors.NotFoundError, errors.InvalidReferenceError)
@command("untag")
@argument("name")
@json_option
def untag(session: Session, name: str) -> None:
    """Remove a name from its image.

    NAME is a name as `arstore images` prints it; only :latest may be left out. The image stays available by its digest
    until `arstore gc` removes it. No space is freed before that.

    Prints the name.

    Example:

    arstore untag app:stable
    """
    from arstore.api.methods.images import ImageMethods

    with session.opened(ImageMethods) as library:
        done = library.untag(name)
    session.done = f"the name {done.name} is removed"
    if session.json:
        write_json(
            {
                "name": done.name,
                "digest": done.digest,
                "untagged": [done.name],
                "removed": [],
                "freed": 0,
                "names_left": list(done.names_left),
            }
        )
        return
    write_line("untagged", done.name)
    if not done.names_left:
        session.note(f"{done.digest} has no name left; `arstore gc` removes it unless it is in use")


@exit_statuses(*IMAGE_ERRORS, errors.InUseError, *MOUNT_ERRORS)
@needing(Need.REMOVAL)
@command("rm")
@argument("images", metavar="IMAGE...", nargs=-1, required=True)
@option("-f", "--force", is_flag=True, help="Stop and remove the containers of these images first.")
@option("-n", "--dry-run", is_flag=True, help="Only print what would be removed.")
@json_option
def rm(session: Session, images: tuple[str, ...], force: bool, dry_run: bool) -> None:
    """Remove images, and everything that only they need.

    Each IMAGE is a name as `arstore images` prints it (only :latest may be left out), a digest, or a unique prefix of
    one. If an image has other names too, removing a name removes only that name. Removing the last name removes the
    image, and an image given by digest is removed with all its names. Either everything that is given is removed, or
    nothing: an image that a container or a mount uses is refused. With --force, its containers are first stopped as by
    `arstore stop`, and removed with everything that they wrote. Containers themselves are removed by
    `arstore container rm`.

    Prints a line for each container, each name and each image that was removed, and the disk space that was freed.

    Example:

    arstore rm --dry-run app:1 base:1
    """
    from arstore.api.methods.images import ImageMethods

    with session.opened(ImageMethods) as library:
        done = library.remove(*images, force=force, dry_run=dry_run)
    session.done = "the images are removed"
    if session.json:
        write_json(
            {
                "dry_run": dry_run,
                "containers": done.containers,
                "untagged": done.untagged,
                "removed": done.images,
                "freed": done.freed,
                "images": done.images,
                "attachments": done.attachments,
                "layers": done.layers,
                "blobs": done.blobs,
                "trees": done.trees,
                **({"parts": done.parts} if dry_run else {}),
            }
        )
        return
    for container_id in done.containers:
        write_line("removed container", container_id)
    for name in done.untagged:
        write_line("untagged", name)
    for digest in done.images:
        write_line("removed", digest)
    from arstore.cli.upkeep.plans import write_freed, write_parts

    if dry_run:
        write_parts(done.parts, done.bound)
    write_freed(done.freed, dry_run)
