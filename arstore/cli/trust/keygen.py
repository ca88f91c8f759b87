"""`keygen`: create a key pair to sign images with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import command, exit_statuses, json_option
from arstore.cli.parameter import Choice, argument, option
from arstore.cli.terminal.output import write_json

if TYPE_CHECKING:
    from arstore.cli.session import Session

_KINDS = ("ecdsa-p256", "ecdsa-p384", "ed25519")
"""The same as trust.signing.private.KINDS, without the import; a test compares the two."""


@exit_statuses(errors.ConflictError, errors.NotFoundError, errors.KeyFileError)
@command("keygen")
@argument("prefix", required=False)
@option("--type", "kind", type=Choice(_KINDS), help="The type of key; ecdsa-p256 by default, as in cosign.")
@option(
    "--format",
    "form",
    type=Choice(("pkcs8", "cosign")),
    help="The format of the private key file; cosign is the format that cosign reads. [default: pkcs8]",
)
@option("--passphrase-file", metavar="FILE", help="Read the passphrase from the first line of FILE.")
@option("--no-passphrase", is_flag=True, help="Do not encrypt the private key, for machines that sign unattended.")
@json_option
def keygen(
    session: Session,
    prefix: str | None,
    kind: str | None,
    form: str | None,
    passphrase_file: str | None,
    no_passphrase: bool,
) -> None:
    """Create a key pair to sign images with.

    Writes PREFIX.key, the private key, encrypted with a passphrase and readable only by its owner, and PREFIX.pub, the
    public key, which is not secret. PREFIX is arstore by default. Existing files are not replaced. The passphrase is
    read from the terminal or from a file; it cannot be an argument. The keys are in PKCS #8, which OpenSSL reads.
    --format cosign needs the package PyNaCl.

    Prints the paths of both files to stderr.

    Example:

    arstore keygen --passphrase-file secret builds
    """
    from arstore.cli.trust import passphrase
    from arstore.trust.signing.cosign_key import require
    from arstore.trust.signing.key_files import write_pair
    from arstore.trust.signing.private import cosign_pem, make_private_key, private_pem

    prefix = "arstore" if prefix is None else prefix
    if prefix.endswith("/"):
        raise errors.UsageError("keygen", f"{prefix!r} is not a prefix of a file name")
    if no_passphrase and (passphrase_file is not None or form == "cosign"):
        other = "--passphrase-file" if passphrase_file is not None else "--format cosign"
        raise errors.UsageError("--no-passphrase", f"and {other} exclude each other")
    if form == "cosign":
        # Fail before the user is asked for a passphrase.
        require("--format cosign")
    secret = None if no_passphrase else passphrase.new(passphrase_file)
    key = make_private_key(kind or _KINDS[0])
    private = cosign_pem(key, secret) if form == "cosign" and secret is not None else private_pem(key, secret)
    paths = write_pair(prefix, private, key.public.pem())
    if session.json:
        found = {"private": paths[0], "public": paths[1], "type": kind or _KINDS[0], "sha256": key.public.fingerprint}
        write_json(found | {"encrypted": secret is not None})
        return
    session.note(f"the private key is in {paths[0]}, the public key in {paths[1]}")
