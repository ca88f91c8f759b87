"""`verify`: check that an image is signed with a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import SOURCE_ERRORS, command, exit_statuses, json_option, limit_option
from arstore.cli.parameter import FilePath, argument, option
from arstore.cli.registries.options import registry_options
from arstore.cli.terminal.output import printable, write_json, write_line
from arstore.cli.trust.policy import STORE, called, verdicts

if TYPE_CHECKING:
    from typing import Unpack

    from arstore.cli.session import Session
    from arstore.cli.trust.policy import SourceWords
    from arstore.trust.policy.identity import Identity
    from arstore.trust.policy.model import Policy

    class VerifyWords(SourceWords):
        """The options of `verify` as they were typed."""

        key: str
        identity: str | None


_LARGEST = 4 << 20
"""Largest key file, in bytes; keyrings of distributions are smaller than 1 MiB."""
_HEAD = 4096


@exit_statuses(*SOURCE_ERRORS, errors.KeyFileError, errors.SignatureError)
@command("verify")
@argument("image")
@option("--key", metavar="FILE", type=FilePath(), required=True, help="The public key: PEM, or an OpenPGP keyring.")
@option(
    "--identity", metavar="NAME[:TAG]", help="The name that must be signed; without a tag, any tag of the repository."
)
@option("--platform", metavar="OS/ARCH[/VARIANT]", help="Verify the image for this platform; by default the host's.")
@option("--all-platforms", is_flag=True, help="Verify the images of an index for all platforms.")
@limit_option
@registry_options
@json_option
def verify(session: Session, image: str, **words: Unpack[VerifyWords]) -> None:
    """Verify that an image is signed with a key.

    IMAGE is an image of the store, or a source as for `arstore import`. The kind of key decides which signatures count:
    those of sigstore (cosign, skopeo) and sigstore bundles (cosign 3), or OpenPGP messages. A signature of an index is
    valid for the images that it lists. The name in the signature is compared only with --identity.

    Prints the digest and the names of each image that is signed. The exit status is 56 if an image is not signed.

    Example:

    arstore verify --key b.pub docker://registry.example.com/team/app:1
    """
    from arstore.trust.rules import Rules

    source = _source(session, image)
    judged = verdicts(session, source, words, Rules.of(_policy(words["key"], words["identity"])))
    bad = [one for one in judged if not one.verdict.accepted]
    if session.json:
        images = [{"digest": one.digest, "names": one.names, **one.verdict.to_json()} for one in judged]
        write_json({"verified": not bad, "images": images})
    else:
        for one in judged:
            if one.verdict.accepted:
                write_line(one.digest, *map(printable, one.names))
    if bad:
        raise errors.SignatureError(called(bad[0]), bad[0].verdict.outcomes[0].reason)


def _source(session: Session, image: str) -> str:
    """Return *image* as a source, with the prefix `store:` if it is an image of the store."""
    from arstore.cli.images.copy import is_stored

    if image.startswith(STORE) or not is_stored(image):
        return image
    with session.store() as store:
        store.find(image)
    return f"{STORE}{image}"


def _policy(path: str, identity: str | None) -> Policy:
    """Return a policy that requires a signature by the key in *path*. Raises KeyFileError, NotFoundError."""
    from arstore.digest import Digest
    from arstore.trust.policy.model import GPG_KEYS, KeySource, Policy, SignedBy, SigstoreSigned
    from arstore.trust.signing.key_files import read_key_file

    data = read_key_file(path, _LARGEST)
    keys = KeySource("--key", data=(data,))
    name = _identity(identity)
    is_pem = b"-----BEGIN " in data[:_HEAD] and b"-----BEGIN PGP" not in data[:_HEAD]
    one = SigstoreSigned(keys, None, name) if is_pem else SignedBy(GPG_KEYS, keys, name)
    return Policy((one,), {}, f"--key {path}", Digest.of(data), explicit=True)


def _identity(text: str | None) -> Identity:
    from arstore.oci.docker_reference import DockerReference
    from arstore.trust.policy.identity import ANY, Identity

    if text is None:
        return Identity(ANY)
    reference = DockerReference.parse(text, "")
    if reference.tag or reference.digest is not None:
        return Identity("exactReference", str(reference))
    return Identity("exactRepository", reference.repository)
