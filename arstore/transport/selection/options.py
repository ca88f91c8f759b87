"""Options of an import: the values that a command line, or a program, gives to `transport.copy`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.tar.limits import DEFAULT_LIMITS, Limits
from arstore.values import NamedTuple, frozen

if TYPE_CHECKING:
    from arstore.oci.platform import Platform
    from arstore.registry.access import RegistryOptions
    from arstore.transport.decryption.keys import DecryptionKeys
    from arstore.trust.rules import Rules


class Wanted(NamedTuple):
    """The wanted images of an index: those for one platform (None: the host's), or all.

    `referrers` says whether their attachments are taken as well; None: only if asking for them costs no requests.
    """

    platform: Platform | None = None
    every: bool = False
    referrers: bool | None = None


@frozen
class ImportOptions:
    """Options of an import: a *name* for the only image, which platforms, which tree form ("": the store's choice).

    *single* refuses a source that brings more than one image. *limits* apply to its layers, its documents and the
    archive. *registries* says how to reach registries, *keys* decrypt layers. *rules* name the signature policy, by
    default the user's or the host's. *place* is the path that the policy's scopes are compared with, "" for none.
    """

    name: str = ""
    wanted: Wanted = Wanted()
    tree: str = ""
    single: bool = False
    limits: Limits = DEFAULT_LIMITS
    registries: RegistryOptions | None = None
    keys: DecryptionKeys | None = None
    rules: Rules | None = None
    place: str = ""
