"""Sign an image: the digest of its manifest together with a name.

The name is signed with its tag, as skopeo does, not without it, as cosign does. A policy's default requires the tag,
and without it an old image of the same repository could be passed off as the newest. cosign accepts both.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from arstore.errors import InvalidReferenceError
from arstore.oci.docker_reference import DockerReference
from arstore.trust.payload import COSIGN, Statement, statement_now, write_statement
from arstore.trust.signature import Bundle, SigstoreSignature
from arstore.trust.sigstore.bundle import Attested, make_bundle

if TYPE_CHECKING:
    from arstore.digest import Digest
    from arstore.trust.signing.private import PrivateKey


def statement_about(manifest: Digest, name: str) -> Statement:
    """The statement about the image *manifest* under *name*, such as `example.org/app:1`, made now.

    Raises InvalidReferenceError for a name without a tag or digest, and for one with another digest.
    """
    reference = DockerReference.parse(name, "")
    if not reference.tag and reference.digest is None:
        raise InvalidReferenceError(name, "a signature needs a tag or a digest in the name", f"write {name}:TAG")
    if reference.digest is not None and reference.digest != manifest:
        raise InvalidReferenceError(name, f"the image has another digest: {manifest}")
    return statement_now(manifest, str(reference))


def sign_image(key: PrivateKey, manifest: Digest, name: str) -> SigstoreSignature:
    """Sign the image *manifest* under *name*, in the form that cosign 2, skopeo and podman read.

    Raises InvalidReferenceError.
    """
    payload = write_statement(statement_about(manifest, name), COSIGN)
    return SigstoreSignature(payload, base64.b64encode(key.sign(payload)).decode("ascii"))


def sign_bundle(key: PrivateKey, *blobs: Digest) -> Bundle:
    """Make cosign 3's bundle in which *key* signs these *blobs*: the manifest of an image, or a list of blobs."""
    return make_bundle(Attested(blobs), key.public.hint, key.sign)
