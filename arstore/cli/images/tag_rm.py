"""`tag`, `untag` and `rm`: names, and the removal of what they stood for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import (
    IMAGE_ERRORS,
    command,
    exit_statuses,
    json_option,
)
from arstore.cli.parameter import argument, option
from arstore.cli.terminal.output import human_size, write_json, write_line

if TYPE_CHECKING:
    from arstore.cli.session import Session


@exit_statuses(*IMAGE_ERRORS)
@command("tag")
@argument("image")
@argument("name")
@json_option
def tag(session: Session, image: str, name: str) -> None:
    """Give an image a name.

    NAME is REPOSITORY[:TAG], latest where the tag is left out. A name that stands for another image moves to this one,
    and what it stood for before is reported on stderr.
    """
    with session.store(makes=True) as store:
        stored = store.tag(image, name)
        digest = store.find(stored).digest if session.json else ""
    session.done = f"the image has the name {stored}"
    if session.json:
        document = {"name": stored, "digest": digest}
        if store.moved:
            document["was"] = store.moved[0].was
        write_json(document)


@exit_statuses(errors.NotFoundError, errors.InvalidReferenceError)
@command("untag")
@argument("name")
@json_option
def untag(session: Session, name: str) -> None:
    """Take a name away.

    The image stays, reachable by its digest, until `arstore gc` finds that nothing holds it. NAME is what
    `arstore images` prints; latest may be left out, and no other spelling means it.

    Prints the name. Nothing is freed.
    """
    with session.store() as store:
        done = store.untag(name)
    session.done = f"the name {done.name} is gone"
    if session.json:
        write_json(
            {
                "name": done.name,
                "digest": done.digest,
                "untagged": [done.name],
                "removed": [],
                "freed": 0,
                "names_left": list(done.left),
            }
        )
        return
    write_line("untagged", done.name)
    if not done.left:
        session.note(f"{done.digest} has no name any more; `arstore gc` removes it unless something else holds it")


@exit_statuses(*IMAGE_ERRORS, errors.InUseError)
@command("rm")
@argument("images", metavar="IMAGE...", nargs=-1, required=True)
@option("-n", "--dry-run", is_flag=True, help="Only report what would be removed.")
@json_option
def rm(session: Session, images: tuple[str, ...], dry_run: bool) -> None:
    """Remove images, and what nothing else needs.

    IMAGE is a name as `arstore images` prints it (latest may be left out, and no other spelling means it), a digest, or
    a unique start of one. A name of several is only taken away; an image goes with its last name, or with all its names
    when it is meant by its digest. Everything that is named is removed, or nothing: an image that a container or a
    mount stands on is in use.

    Prints a line for each name and each image that was removed, and the bytes on disk that this has freed.
    """
    from arstore.maintenance.remove import plan_removal, remove_images

    with session.store() as store:
        done = plan_removal(store, images) if dry_run else remove_images(store, images)
    removed = done.removed
    session.done = "the images are removed"
    if session.json:
        write_json(
            {
                "dry_run": dry_run,
                "untagged": list(done.untagged),
                "removed": removed.images,
                "freed": done.freed,
                "images": removed.images,
                "attachments": removed.attachments,
                "layers": removed.layers,
                "blobs": removed.blobs,
                "trees": removed.trees,
            }
        )
        return
    for name in done.untagged:
        write_line("untagged", name)
    for digest in removed.images:
        write_line("removed", digest)
    write_line(f"{human_size(done.freed)} {'can be' if dry_run else 'were'} freed")
