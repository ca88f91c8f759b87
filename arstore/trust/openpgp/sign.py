"""Simple signing with a key of the user's own gpg: the message that `skopeo copy --sign-by` makes.

The private key stays with gpg and its agent, and so does the question for the passphrase, unless the caller has it.
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

    With a *passphrase* nobody is asked for one. *environ* is that of gpg, by default this process's.
    Raises KeyFileError where gpg does not sign, HostError without gpg.
    """
    gpg = program.find()
    if not gpg:
        raise HostError("gpg", "is not installed; OpenPGP signatures are made with it")
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
            return "there is no such secret key"
        if line.startswith("BAD_PASSPHRASE "):
            return "the passphrase is wrong"
    return f"it ended with the status {answer.code}"
