"""`index`: images for several platforms under one name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import IMAGE_ERRORS, command, exit_statuses, json_option, needing
from arstore.cli.group import CommandEntry, Group
from arstore.cli.namespace import Need
from arstore.cli.parameter import argument
from arstore.cli.terminal.output import write_json, write_line

if TYPE_CHECKING:
    from arstore.cli.session import Session
    from arstore.store.indexes import ChangedIndex

INDEX_ERRORS = (
    *IMAGE_ERRORS,
    errors.ConflictError,
    errors.PlatformError,
    errors.ManifestError,
    errors.MissingBlobError,
    errors.LimitError,
)
"""Errors of commands on an index and its images."""


@json_option
def _index(_: Session) -> None:
    """Manage indexes: images for several platforms under one name.

    Example:

    arstore index create app:1 app:1-amd64 app:1-arm64
    """


index = Group(
    "index",
    _index,
    {
        "Commands": {
            "create": CommandEntry("images.index", "index_create", "Create an index of images."),
            "add": CommandEntry("images.index", "index_add", "Add images to an index."),
            "rm": CommandEntry("images.index", "index_rm", "Remove images from an index."),
            "push": CommandEntry("registries.push", "index_push", "Send an index with all its images to a registry."),
        }
    },
)


@exit_statuses(*INDEX_ERRORS)
@command("create")
@argument("name")
@argument("images", metavar="IMAGE...", nargs=-1, required=True)
@json_option
def index_create(session: Session, name: str, images: tuple[str, ...]) -> None:
    """Create an index of images.

    The index is called NAME and lists the given images of the store, each with the platform in its config. An index
    among them is replaced by the images that it lists. Two images for the same platform are refused, unless their
    variants differ. If NAME is already used, it moves to the new index. The index is in OCI's format, or in Docker's if
    all images are.

    Prints the digest of the index and its name.

    Example:

    arstore index create app:1 app-amd64:1 app-arm64:1
    """
    from arstore.store.indexes import create_index

    with session.store() as store:
        done = create_index(store, name, images)
    _render(session, done)


@exit_statuses(*INDEX_ERRORS)
@command("add")
@argument("name")
@argument("images", metavar="IMAGE...", nargs=-1, required=True)
@json_option
def index_add(session: Session, name: str, images: tuple[str, ...]) -> None:
    """Add images to an index.

    NAME moves to a new index that also lists these images. The old index stays available by its digest until `arstore
    gc`. An image that the index already lists is ignored; another image for a platform that it already lists is
    refused.

    Prints the digest of the index and its name.

    Example:

    arstore index add app:1 app-riscv64:1
    """
    from arstore.store.indexes import add_to_index

    with session.store() as store:
        done = add_to_index(store, name, images)
    _render(session, done)


@exit_statuses(*INDEX_ERRORS)
@needing(Need.REMOVAL)
@command("rm")
@argument("name")
@argument("images", metavar="IMAGE...", nargs=-1, required=True)
@json_option
def index_rm(session: Session, name: str, images: tuple[str, ...]) -> None:
    """Remove images from an index.

    NAME moves to a new index without these images; the images themselves stay in the store. Each IMAGE is a name, a
    digest or a unique prefix of one. It may also be the digest of an entry that the store does not have.

    Prints the digest of the index and its name.

    Example:

    arstore index rm app:1 app-arm64:1
    """
    from arstore.store.indexes import remove_from_index

    with session.store() as store:
        done = remove_from_index(store, name, images)
    _render(session, done)


def _render(session: Session, done: ChangedIndex) -> None:
    session.done = f"the index {done.name} is {done.digest}"
    if session.json:
        entries = [{"digest": one.digest, "platform": str(one.platform or "")} for one in done.entries]
        write_json({"digest": done.digest, "name": done.name, "manifests": entries})
        return
    write_line(done.digest, done.name)
