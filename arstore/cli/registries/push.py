"""`push` and `index push`: send images of the store to a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import command, exit_statuses
from arstore.cli.images.copying import COPY_ERRORS, export_options, format_option, how_to_copy, render_copied
from arstore.cli.images.encryption import encryption, encryption_options
from arstore.cli.parameter import argument
from arstore.cli.registries.options import registry_access, registry_options
from arstore.cli.trust.rules import policy_rules

if TYPE_CHECKING:
    from typing import Unpack

    from arstore.cli.images.copying import PushWords
    from arstore.cli.session import Session


@exit_statuses(*COPY_ERRORS)
@command("push")
@argument("image")
@argument("destination", required=False)
@format_option
@export_options
@encryption_options
@registry_options
def push(session: Session, image: str, destination: str | None, **words: Unpack[PushWords]) -> None:
    """Send an image of the store to a registry.

    DESTINATION is [docker://]REGISTRY/NAME[:TAG]; by default it is the image's own name. Blobs that the registry
    already has are not sent, and the tag is set last. Any other destination of `arstore copy` works too.

    Prints the image's digest in the registry, and its name.

    Example:

    arstore push app:1 docker://registry.example.com/team/app:1
    """
    _push(session, image, destination, words)


@exit_statuses(*COPY_ERRORS)
@command("push")
@argument("name")
@argument("destination", required=False)
@format_option
@export_options
@encryption_options
@registry_options
def index_push(session: Session, name: str, destination: str | None, **words: Unpack[PushWords]) -> None:
    """Send an index with all its images to a registry.

    This is `arstore push --all-platforms`: the images that the index lists and the store has are sent first, then the
    index, and the tag is set last.

    Prints the digest of the index in the registry, and its name.

    Example:

    arstore index push app:1 docker://registry.example.com/team/app:1
    """
    with session.library(reads=True) as library:
        if not library.image(name).is_index:
            raise errors.UsageError(name, "is an image, not an index", "use `arstore push`")
    words["all_platforms"] = True
    _push(session, name, destination, words)


def _push(session: Session, image: str, destination: str | None, words: PushWords) -> None:
    from arstore.api.methods.copies import CopyMethods
    from arstore.oci.docker_reference import has_domain
    from arstore.oci.reference import parse_transport
    from arstore.transport.sinks.destination import parse_destination

    target = destination or image
    if not destination and not has_domain(image):
        raise errors.UsageError(image, "has no registry in its name", "give a DESTINATION")
    if not parse_transport(target)[0]:
        target = f"docker://{target}"
    place = parse_destination(target)
    how = how_to_copy(session, words)
    access, rules = registry_access(session, words), policy_rules(session, words)
    with session.opened(CopyMethods, rules, reads=True) as library, session.progress() as progress:
        done = library.copy(
            f"store:{image}",
            target,
            form=words["format"] or "",
            encryption=encryption(words),
            registries=access,
            progress=progress,
            **how,
        )
    render_copied(session, place, done)
