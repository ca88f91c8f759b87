"""`pull`: bring an image from a registry into the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import SOURCE_ERRORS, command, exit_statuses, needing
from arstore.cli.images.encryption import KEY_ERRORS
from arstore.cli.images.imports import ImportWords, bring, import_options
from arstore.cli.namespace import Need
from arstore.cli.parameter import argument, option
from arstore.cli.registries.options import PREFIX, registry_access
from arstore.cli.trust.rules import POLICY_ERRORS

if TYPE_CHECKING:
    from typing import Unpack

    from arstore.cli.session import Session
    from arstore.registry.access import RegistryOptions


@exit_statuses(*SOURCE_ERRORS, *KEY_ERRORS, *POLICY_ERRORS)
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
    bring(session, sources_of(image, registry_access(session, words)), words)


def sources_of(image: str, options: RegistryOptions) -> list[str]:
    """Return the sources that *image* may mean, with their transport, in the order in which they are tried.

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
