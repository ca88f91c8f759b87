"""`tag`, `untag` and `rm`: names, and the removal of what they stood for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from arstore import errors
from arstore.cli.command import IMAGE_ERRORS, Command, exit_statuses, json_option, pass_session
from arstore.cli.output import write_json

if TYPE_CHECKING:
    from arstore.cli.session import Session


@exit_statuses(*IMAGE_ERRORS)
@click.command("tag", cls=Command)
@click.argument("image")
@click.argument("name")
@json_option
@pass_session
def tag(session: Session, image: str, name: str) -> None:
    """Give an image a name.

    NAME is REPOSITORY[:TAG], latest where the tag is left out. A name that stands for another image moves to this one.
    """
    with session.store() as store:
        stored = store.tag(image, name)
        digest = store.find(stored).digest if session.json else ""
    session.done = f"the image has the name {stored}"
    if session.json:
        write_json({"name": stored, "digest": digest})


@exit_statuses(errors.NotFoundError, errors.InvalidReferenceError)
@click.command("untag", cls=Command)
@click.argument("name")
@json_option
@pass_session
def untag(session: Session, name: str) -> None:
    """Take a name away.

    The image stays, reachable by its digest, until `arstore gc` finds that nothing holds it.
    """
    with session.store() as store:
        stored = store.untag(name)
    session.done = f"the name {stored} is gone"
    if session.json:
        write_json({"name": stored})


@exit_statuses(*IMAGE_ERRORS, errors.InUseError)
@click.command("rm", cls=Command)
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@json_option
@pass_session
def rm(session: Session, images: tuple[str, ...]) -> None:
    """Remove images, and what nothing else needs.

    A name of several is only taken away; an image goes with its last name, or when it is meant by its digest. All
    that is meant is removed, or nothing: an image that a container or a mount stands on is in use.
    """
    from arstore.store.disposal import remove_images

    with session.store() as store:
        done = remove_images(store, images)
    removed = done.removed
    session.done = "the images are removed"
    if session.json:
        write_json(
            {
                "untagged": list(done.untagged),
                "images": removed.images,
                "layers": removed.layers,
                "blobs": removed.blobs,
                "trees": removed.trees,
            }
        )
