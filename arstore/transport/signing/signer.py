"""Signer: makes signatures of images in the forms in which they are transported.

Each name of an image gets a signature. A sigstore signature is stored under cosign's tag, a bundle is a referrer, and
an OpenPGP message is an attachment in arstore's form (`oci.simple_signing`), or a file if the medium keeps files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.errors import UsageError
from arstore.oci.descriptor import Descriptor
from arstore.oci.manifest import Manifest
from arstore.oci.media_type import OCI_MANIFEST
from arstore.transport.sink import OutgoingAttachment
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from arstore.trust.signing.private import PrivateKey

_TAG = "sig"


class Made(NamedTuple):
    """A signature as an attachment with its blobs, and as a file for a `dir:` or a lookaside (None for a bundle).

    `is_message` is set for an OpenPGP message, which other tools read from the lookaside of a registry.
    """

    attachment: OutgoingAttachment
    blobs: tuple[bytes, ...]
    file: bytes | None
    is_message: bool = False


class Signer:
    """Signs with a private *key*, or with the key that the user's gpg knows by the name *gpg*.

    *identity* is the name to sign instead of the image's own. With *bundle*, the signature is a sigstore bundle, which
    does not contain a name.
    """

    def __init__(
        self,
        key: PrivateKey | None,
        *,
        gpg: str = "",
        passphrase: bytes | None = None,
        identity: str = "",
        bundle: bool = False,
    ) -> None:
        self._key = key
        self._gpg = gpg
        self._passphrase = passphrase
        self._identity = identity
        self._bundle = bundle

    @classmethod
    def from_file(
        cls, path: str, passphrase: Callable[[], bytes] | None = None, *, identity: str = "", bundle: bool = False
    ) -> Signer:
        """Return a signer with the private key in the file *path*, in PEM (PKCS #8) or cosign's format.

        *passphrase* is called if the key is encrypted. Raises KeyFileError, NotFoundError, OSError.
        """
        from arstore.trust.signing.key_files import read_key_file
        from arstore.trust.signing.private import read_private_key

        key = read_private_key(read_key_file(path), path, passphrase or (lambda: b""))
        return cls(key, identity=identity, bundle=bundle)

    def sign(self, subject: Descriptor, raw: bytes, names: Sequence[str], what: str) -> list[Made]:
        """Sign the manifest *raw* of *subject* under *names*; *what* names it in messages.

        Raises UsageError for an image without a name, InvalidReferenceError for a name that cannot be signed,
        KeyFileError and HostError if gpg does not sign.
        """
        if self._bundle and self._key is not None:
            return [self._made_bundle(self._key, subject, raw)]
        identities = [self._identity] if self._identity else list(names)
        if not identities:
            raise UsageError(what, "has no name to sign", "give one with --sign-identity NAME:TAG")
        return [self._made(subject, one) for one in identities]

    def _made(self, subject: Descriptor, name: str) -> Made:
        if self._key is None:
            return self._made_message(subject, name)
        from arstore.trust import cosign
        from arstore.trust.dir_file import write_file
        from arstore.trust.signing.sign import sign_image

        signature = sign_image(self._key, subject.digest, name)
        carrier = cosign.carry([signature])
        return Made(_attachment(subject, carrier.manifest, _TAG), carrier.blobs, write_file(signature))

    def _made_message(self, subject: Descriptor, name: str) -> Made:
        from arstore.oci.simple_signing import wrapped
        from arstore.trust.openpgp.sign import sign
        from arstore.trust.signing.sign import statement_about

        message = sign(statement_about(subject.digest, name), self._gpg, self._passphrase).blob
        (made,) = wrapped([message], subject)
        return Made(_attachment(subject, made.manifest, ""), tuple(made.blobs.values()), message, True)

    def _made_bundle(self, key: PrivateKey, subject: Descriptor, raw: bytes) -> Made:
        from arstore.trust import cosign
        from arstore.trust.signing.sign import sign_bundle

        carrier = cosign.carry_bundle(sign_bundle(key, subject.digest), subject.media_type, raw)
        return Made(_attachment(subject, carrier.manifest, ""), carrier.blobs, None)


def _attachment(subject: Descriptor, manifest: bytes, tag: str) -> OutgoingAttachment:
    parsed = Manifest.parse(manifest)
    descriptor = Descriptor(OCI_MANIFEST, Digest.of(manifest), len(manifest), artifact_type=parsed.artifact_type)
    return OutgoingAttachment(subject.digest, descriptor, manifest, tag)
