"""`sign`, and the options that sign images while they are copied."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import IMAGE_ERRORS, REGISTRY_ERRORS, command, exit_statuses, json_option
from arstore.cli.parameter import FilePath, argument, option
from arstore.cli.registries.options import PREFIX, docker_reference, registry_access, registry_options
from arstore.cli.terminal.output import write_json, write_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypedDict, TypeVar, Unpack

    from arstore.cli.registries.options import AccessWords
    from arstore.cli.session import Session
    from arstore.transport.signing.signer import Signer

    F = TypeVar("F", bound="Callable[..., Any]")

    class SigningWords(TypedDict):
        """The options of `signing_options` as they were typed."""

        sign_by_key: str | None
        sign_by: str | None
        sign_passphrase_file: str | None
        sign_identity: str | None
        sign_bundle: bool
        remove_signatures: bool

    class SignWords(AccessWords):
        """The options of `sign` as they were typed."""

        key: str | None
        gpg: str | None
        passphrase_file: str | None
        identity: str | None
        bundle: bool


SIGNING_ERRORS = (errors.KeyFileError, errors.HostError)
"""Errors of commands that sign."""


_OPTIONS = (
    option("--sign-by-key", metavar="FILE", type=FilePath(), help="Sign the copy with this private key."),
    option("--sign-by", metavar="KEY", help="Sign the copy with this OpenPGP key, using gpg."),
    option("--sign-passphrase-file", metavar="FILE", type=FilePath(), help="Read the key's passphrase from FILE."),
    option("--sign-identity", metavar="NAME:TAG", help="Sign this name instead of the image's own."),
    option("--sign-bundle", is_flag=True, help="With --sign-by-key: write a sigstore bundle, as cosign 3 does."),
    option("--remove-signatures", is_flag=True, help="Do not copy signatures."),
)


def signing_options(function: F) -> F:
    """Add the options that sign copies to a command."""
    for one in reversed(_OPTIONS):
        function = one(function)
    return function


def copy_signer(words: SigningWords) -> Signer | None:
    """Return the signer for the options of a copy; None to sign nothing.

    Raises UsageError, KeyFileError, NotFoundError, HostError.
    """
    key, gpg = words["sign_by_key"], words["sign_by"]
    if key is None and gpg is None:
        for name in ("sign_passphrase_file", "sign_identity", "sign_bundle"):
            if words[name]:
                raise errors.UsageError(f"--{name.replace('_', '-')}", "needs --sign-by-key or --sign-by")
        return None
    passphrase_file = words["sign_passphrase_file"]
    return signer(key, gpg, passphrase_file, words["sign_identity"] or "", bundle=words["sign_bundle"])


def signer(key: str | None, gpg: str | None, passphrase_file: str | None, identity: str, *, bundle: bool) -> Signer:
    """Return a signer that uses a private key file, or a key of gpg.

    Raises UsageError, KeyFileError, NotFoundError, HostError.
    """
    from arstore.cli.trust import passphrase
    from arstore.transport.signing.signer import Signer

    if (key is None) == (gpg is None):
        raise errors.UsageError("sign", "give either a key file or a key of gpg")
    if gpg is not None:
        if bundle:
            raise errors.UsageError("sign", "gpg cannot sign a bundle", "use a key file")
        secret = None if passphrase_file is None else passphrase.existing(passphrase_file, gpg)
        return Signer(None, gpg=gpg, passphrase=secret, identity=identity)
    assert key is not None
    return Signer.from_file(key, partial(passphrase.existing, passphrase_file, key), identity=identity, bundle=bundle)


@exit_statuses(*IMAGE_ERRORS, *REGISTRY_ERRORS, *SIGNING_ERRORS)
@command("sign")
@argument("image")
@option("--key", metavar="FILE", type=FilePath(), help="The private key, in PEM (PKCS #8); see `arstore keygen`.")
@option("--gpg", metavar="KEY", help="Sign with this OpenPGP key, using gpg.")
@option("--passphrase-file", metavar="FILE", type=FilePath(), help="Read the key's passphrase from FILE.")
@option("--identity", metavar="NAME:TAG", help="Sign this name instead of the image's own.")
@option("--bundle", is_flag=True, help="Write a sigstore bundle, as cosign 3 does. A bundle does not contain the name.")
@registry_options
@json_option
def sign(session: Session, image: str, **words: Unpack[SignWords]) -> None:
    """Sign an image.

    IMAGE is an image of the store, or docker://NAME[:TAG|@DIGEST] for an image in a registry. For an index, the index
    itself is signed. The signature is stored with the image: `arstore save` and `arstore push --referrers` copy it, and
    cosign, skopeo and podman verify it. The passphrase is read from a file or from the terminal.

    Prints the digest of what was signed.

    Example:

    arstore sign --key builds.key registry.example.com/team/app:1
    """
    found = signer(
        words["key"], words["gpg"], words["passphrase_file"], words["identity"] or "", bundle=words["bundle"]
    )
    if image.startswith(PREFIX):
        from arstore.transport.signing.place import sign_remote

        digest, made = sign_remote(docker_reference(image), registry_access(session, words), found)
    else:
        from arstore.transport.signing.place import sign_stored

        with session.store() as store:
            stored = store.find(image)
            digest, made = stored.digest, sign_stored(store, stored, found)
    session.done = "the image is signed"
    if session.json:
        write_json({"digest": digest, "signatures": made})
    else:
        write_line(digest)
