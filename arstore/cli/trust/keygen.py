"""`keygen`: make a pair of keys to sign images with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import command, exit_statuses, json_option
from arstore.cli.parameter import Choice, argument, option
from arstore.cli.terminal.output import write_json

if TYPE_CHECKING:
    from arstore.cli.session import Session

_KINDS = ("ecdsa-p256", "ecdsa-p384", "ed25519")
"""As in trust.signing.private.KINDS, without the import; a test compares the two."""


@exit_statuses(errors.ConflictError, errors.NotFoundError, errors.KeyFileError)
@command("keygen")
@argument("prefix", required=False)
@option("--type", "kind", type=Choice(_KINDS), help="The kind of key; ecdsa-p256 by default, as cosign makes.")
@option("--format", "form", type=Choice(("pkcs8", "cosign")), help="cosign: a private key file that cosign reads.")
@option("--passphrase-file", metavar="FILE", help="Read the passphrase from the first line of FILE.")
@option("--no-passphrase", is_flag=True, help="Leave the private key unencrypted, for machines that sign alone.")
@json_option
def keygen(
    session: Session,
    prefix: str | None,
    kind: str | None,
    form: str | None,
    passphrase_file: str | None,
    no_passphrase: bool,
) -> None:
    """Make a pair of keys to sign images with.

    Writes PREFIX.key, the private key, encrypted with a passphrase and readable by its owner only, and PREFIX.pub,
    which verifies what it signs and may be given to anybody. PREFIX is `arstore` by default. Files that exist are not
    replaced. The passphrase is asked for on a terminal, or read from a file; it is never an argument. The keys are in
    PKCS #8, which OpenSSL reads; --format cosign takes the package PyNaCl. Example:

    arstore keygen --passphrase-file secret builds
    """
    from arstore.cli.trust import passphrase
    from arstore.trust.signing.cosign_key import require
    from arstore.trust.signing.key_files import write_pair
    from arstore.trust.signing.private import cosign_pem, make_private_key, private_pem

    prefix = "arstore" if prefix is None else prefix
    if prefix.endswith("/"):
        raise errors.UsageError("keygen", f"{prefix!r} is not the beginning of a file name")
    if no_passphrase and (passphrase_file is not None or form == "cosign"):
        other = "--passphrase-file" if passphrase_file is not None else "--format cosign"
        raise errors.UsageError("--no-passphrase", f"does not go with {other}")
    if form == "cosign":
        # Before anybody is asked for a passphrase in vain.
        require("--format cosign")
    secret = None if no_passphrase else passphrase.new(passphrase_file)
    key = make_private_key(kind or _KINDS[0])
    private = cosign_pem(key, secret) if form == "cosign" and secret is not None else private_pem(key, secret)
    paths = write_pair(prefix, private, key.public.pem())
    if session.json:
        found = {"private": paths[0], "public": paths[1], "type": kind or _KINDS[0], "sha256": key.public.fingerprint}
        write_json(found | {"encrypted": secret is not None})
        return
    session.note(f"the private key is in {paths[0]}, the public one in {paths[1]}")
