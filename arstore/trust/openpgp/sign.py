"""Simple signing with a key of the user's gpg: makes the message that `skopeo copy --sign-by` makes.

The private key stays with gpg and its agent. The agent asks for the passphrase, unless the caller has it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.errors import HostError, KeyFileError
from arstore.oci.document import shown
from arstore.trust.openpgp import program
from arstore.trust.openpgp.verify import check_form
from arstore.trust.payload import SIMPLE, write_statement
from arstore.trust.signature import LARGEST, SimpleSignature

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arstore.trust.payload import Statement


def sign(
    statement: Statement, key: str, passphrase: bytes | None = None, environ: Mapping[str, str] | None = None
) -> SimpleSignature:
    """Sign *statement* with the key that gpg knows as *key* (a fingerprint, a key ID or an address).

    With a *passphrase*, gpg does not prompt for it. *environ* is gpg's environment, by default this process's.
    Raises KeyFileError if gpg does not sign, HostError without gpg.
    """
    gpg = program.find()
    if not gpg:
        raise HostError("gpg", "is not installed, but is needed to make OpenPGP signatures")
    if key.startswith("-") or not key.strip():
        raise KeyFileError(shown(repr(key)), "is not the name of a key")
    arguments = ["--local-user", key, "--no-armor", "--no-textmode", "--digest-algo", "SHA256", "--output", "-"]
    if passphrase is not None:
        arguments = ["--pinentry-mode", "loopback", "--passphrase-fd", "{secret}", *arguments]
    payload = write_statement(statement, SIMPLE)
    answer = program.run(
        gpg, [*arguments, "--sign"], os.environ if environ is None else environ, payload, LARGEST, passphrase
    )
    if answer.code or sum(line.startswith("SIG_CREATED ") for line in answer.lines) != 1:
        raise KeyFileError(shown(key), f"gpg does not sign with it: {_reason(answer)}")
    check_form(answer.output)
    return SimpleSignature(answer.output)


def _reason(answer: program.Answer) -> str:
    for line in answer.lines:
        if line.startswith(("INV_SGNR ", "NO_SECKEY ")):
            return "the secret key does not exist"
        if line.startswith("BAD_PASSPHRASE "):
            return "the passphrase is wrong"
    return f"it exited with the status {answer.code}"
