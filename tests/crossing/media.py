"""Places of signed images, and the known limits of each form of signature and each medium."""

from __future__ import annotations

from typing import NamedTuple

REGISTRY, LAYOUT, ARCHIVE, DIR, LOOKASIDE = "registry", "layout", "archive", "dir", "lookaside"
MEDIA = (REGISTRY, LAYOUT, ARCHIVE, DIR, LOOKASIDE)
SIGSTORE, BUNDLE, GPG = "sigstore", "bundle", "GPG"

NO_PLACE = {
    (GPG, REGISTRY): "a registry has no place for OpenPGP signatures: they are in its lookaside",
    (SIGSTORE, LOOKASIDE): "no tool writes sigstore signatures to a lookaside: they are in the registry",
    (BUNDLE, LOOKASIDE): "no tool writes bundles to a lookaside: they are in the registry",
    (BUNDLE, DIR): "a dir: has no place for bundles",
}
"""Forms of signatures that a medium cannot hold, with any tool."""


class Place(NamedTuple):
    """A signed image: `reference` as skopeo, podman and arstore call it; `path` is what follows the transport.

    `identity` is the repository that was signed. `carried`: arstore copied the image there.
    """

    medium: str
    reference: str
    path: str
    identity: str
    carried: bool = False


class Keys(NamedTuple):
    """Public keys in files: the signer's, and another of the same kind."""

    good: str
    other: str
