"""`pull`: an image from a registry into the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import SOURCE_ERRORS, command, exit_statuses
from arstore.cli.images.encryption import KEY_ERRORS
from arstore.cli.images.imports import ImportWords, bring, import_options
from arstore.cli.parameter import argument, option
from arstore.cli.registries.options import PREFIX, registry_access
from arstore.cli.trust.rules import POLICY_ERRORS

if TYPE_CHECKING:
    from typing import Unpack

    from arstore.cli.session import Session
    from arstore.registry.access import RegistryOptions


@exit_statuses(*SOURCE_ERRORS, *KEY_ERRORS, *POLICY_ERRORS)
@command("pull")
@argument("image")
@option("--name", metavar="NAME[:TAG]", default="", help="The image's name, in place of the one it has there.")
@option("--platform", metavar="OS/ARCH[/VARIANT]", help="Take the image for this platform; by default the host's.")
@import_options
def pull(session: Session, image: str, **words: Unpack[ImportWords]) -> None:
    """Bring an image from a registry into the store.

    IMAGE is [docker://]REGISTRY/NAME[:TAG][@DIGEST]. Without docker:// it may be a short name, which registries.conf
    gives a meaning by its aliases and its list of registries to search. Credentials, certificates, mirrors and what is
    blocked come from the files that podman and skopeo read. Layers that the store has are not fetched.

    Prints the image's digest and its name, as `arstore import` does. Example:

    arstore pull docker.io/library/busybox:latest
    """
    bring(session, sources_of(image, registry_access(session, words)), words)


def sources_of(image: str, options: RegistryOptions) -> list[str]:
    """What *image* may mean, with the transport, in the order in which it is tried.

    Raises UsageError, InvalidReferenceError, RegistryConfigError.
    """
    if image.startswith(PREFIX):
        return [image]
    from arstore.oci.reference import parse_transport
    from arstore.registry.access import Access
    from arstore.registry.configuration.short_names import candidates_for

    transport = parse_transport(image)[0]
    if transport:
        raise errors.UsageError(image, f"{transport}: is not a registry", "use `arstore import`")
    with Access(options) as access:
        return [f"{PREFIX}{one}" for one in candidates_for(image, access.conf, access.places)]
