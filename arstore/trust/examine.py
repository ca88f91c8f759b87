"""Every signature of an image, looked at with given keys: what each one says, or why it does not count.

This is what a person asks who has a key and an image, without any policy (`arstore verify`): no name is compared, so
each finding has the name that was signed, for the person to judge. A policy is `policy.evaluate`'s business.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from arstore.errors import SignatureError
from arstore.trust.signature import MOST, Bundle, SigstoreSignature
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.digest import Digest
    from arstore.trust.keys import PublicKey
    from arstore.trust.openpgp.verify import Keyring
    from arstore.trust.signature import Signature


class Finding(NamedTuple):
    """One signature: its form; the name and, of OpenPGP, the primary key that signed; or the `fault` that it has."""

    form: str
    reference: str = ""
    signer: str = ""
    fault: str = ""

    @property
    def is_good(self) -> bool:
        """Whether one of the keys made it for the image in question."""
        return not self.fault


def examine(
    signatures: Sequence[Signature], manifest: Digest, keys: Sequence[PublicKey] = (), keyring: Keyring | None = None
) -> list[Finding]:
    """Look at each of *signatures* of the image with this *manifest*: sigstore's with *keys*, OpenPGP with *keyring*.

    Findings are in the order of the signatures. Raises SignatureError for more signatures than are looked at.
    """
    if len(signatures) > MOST:
        raise SignatureError("signatures", f"there are {len(signatures)}; {MOST} are looked at")
    return [_examined(one, manifest, keys, keyring) for one in signatures]


def _examined(signature: Signature, manifest: Digest, keys: Sequence[PublicKey], keyring: Keyring | None) -> Finding:
    form = {SigstoreSignature: "sigstore", Bundle: "bundle"}.get(type(signature), "OpenPGP")
    try:
        digests, reference, signer = _claim(signature, keys, keyring)
    except SignatureError as error:
        return Finding(form, fault=f"{error.what}: {error.why}")
    if manifest not in digests:
        return Finding(form, reference, signer, f"is for another image: {digests[0]}")
    return Finding(form, reference, signer)


def _claim(
    signature: Signature, keys: Sequence[PublicKey], keyring: Keyring | None
) -> tuple[tuple[Digest, ...], str, str]:
    """The digests and the name that a good signature is about, and who signed."""
    from arstore.trust.apart import confined

    if isinstance(signature, Bundle):
        from arstore.trust.sigstore.bundle import verify_bundle

        return confined(partial(verify_bundle, signature, keys)).subjects, "", ""
    if isinstance(signature, SigstoreSignature):
        from arstore.trust.sigstore.verify import verify_with_keys

        statement = confined(partial(verify_with_keys, signature, keys))
        return (statement.digest,), statement.reference, ""
    if keyring is None:
        raise SignatureError("OpenPGP signature", "there is no keyring to verify it with")
    from arstore.trust.openpgp.verify import verify_statement

    statement, signer = verify_statement(signature.blob, keyring)
    return (statement.digest,), statement.reference, signer
