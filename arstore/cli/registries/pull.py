"""`pull`: bring an image from a registry into the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import SOURCE_ERRORS, command, exit_statuses, needing
from arstore.cli.images.encryption import KEY_ERRORS
from arstore.cli.images.imports import import_options, taken
from arstore.cli.namespace import Need
from arstore.cli.parameter import argument, option
from arstore.cli.trust.rules import POLICY_ERRORS

if TYPE_CHECKING:
    from typing import Unpack

    from arstore.cli.images.imports import ImportWords
    from arstore.cli.session import Session


@exit_statuses(*SOURCE_ERRORS, errors.BudgetError, *KEY_ERRORS, *POLICY_ERRORS)
@needing(Need.OWNERS)
@command("pull")
@argument("image")
@option(
    "--name", metavar="NAME[:TAG]", default="", help="Give the image this name instead of its name in the registry."
)
@option("--platform", metavar="OS/ARCH[/VARIANT]", help="Pull the image for this platform; by default the host's.")
@import_options
def pull(session: Session, image: str, **words: Unpack[ImportWords]) -> None:
    """Bring an image from a registry into the store.

    IMAGE is [docker://]REGISTRY/NAME[:TAG][@DIGEST]. Without docker:// it may be a short name, which is resolved with
    the aliases and the search list of registries.conf. Credentials, certificates, mirrors and blocked registries come
    from the files that podman and skopeo read. Layers that the store already has are not downloaded.

    Prints the image's digest and its name, as `arstore import` does.

    Example:

    arstore pull docker.io/library/busybox:latest
    """
    taken(session, image, words, pull=True)
