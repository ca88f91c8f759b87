"""Check one signature against one requirement: its kind, its validity, and then its claim.

The cryptography is in `trust.openpgp` and `trust.sigstore`, which are imported when a requirement needs them. The parts
of a sigstore signature are parsed in a confined process (`trust.apart`), OpenPGP messages in gpg's. Not in scope:
whether the claim is about the image at hand (`evaluate`).
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from arstore.trust.policy.identity import ANY
from arstore.trust.policy.model import Fulcio, Pki, SignedBy, SigstoreSigned
from arstore.trust.signature import Bundle, SigstoreSignature, SimpleSignature
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self, TypeAlias

    from cryptography.x509 import Certificate

    from arstore.digest import Digest
    from arstore.trust.keys import PublicKey
    from arstore.trust.payload import Statement
    from arstore.trust.policy.material import Material
    from arstore.trust.policy.model import KeySource
    from arstore.trust.signature import Signature

    Check: TypeAlias = Callable[[Signature], "Claim"]


class Claim(NamedTuple):
    """The claim of a valid signature: any of `digests` may be called `reference`; "" if it does not give a name."""

    digests: tuple[Digest, ...]
    reference: str


def kind_of(signature: Signature) -> str:
    """The kind of the signature, for messages."""
    if isinstance(signature, SimpleSignature):
        return "OpenPGP"
    return "bundle" if isinstance(signature, Bundle) else "sigstore"


class Checker:
    """Verifies signatures for one *requirement*. Leaving its context removes temporary files."""

    def __init__(self, requirement: SignedBy | SigstoreSigned, material: Material) -> None:
        self.requirement = requirement
        self._material = material
        self._check: Check | None = None
        self._made = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._made.close()

    def unfit(self, signature: Signature) -> str:
        """The reason why the requirement does not accept signatures of this kind; "" if it does."""
        if isinstance(self.requirement, SignedBy):
            return "" if isinstance(signature, SimpleSignature) else "signedBy accepts only OpenPGP signatures"
        if isinstance(signature, SimpleSignature):
            return "sigstoreSigned accepts only sigstore's signatures"
        if isinstance(signature, Bundle):
            if self.requirement.identity.type != ANY:
                return f"a bundle does not name a repository; only {ANY} in a file given with --policy accepts it"
            if self.requirement.rekor is not None:
                return "a bundle is not looked up in a log, but the policy requires one"
        return ""

    def claim(self, signature: Signature) -> Claim:
        """The claim of *signature*, which is not `unfit`. Raises SignatureError, KeyFileError, HostError."""
        return self.load()(signature)

    def load(self) -> Check:
        """Load the keys, unless they are loaded; all must be usable. Returns the function that verifies a signature.

        Raises KeyFileError, and HostError if there is no program for OpenPGP.
        """
        if self._check is None:
            self._check = self._loaded()
        return self._check

    def _loaded(self) -> Check:
        if isinstance(self.requirement, SigstoreSigned):
            return _sigstore(self.requirement, self._material)
        from arstore.trust.openpgp.verify import opened, verify_statement

        keyring = self._made.enter_context(opened([data for _, data in self._material.load(self.requirement.keys)]))

        def check(signature: Signature) -> Claim:
            assert isinstance(signature, SimpleSignature)
            return _claim(verify_statement(signature.blob, keyring)[0])

        return check


def _sigstore(requirement: SigstoreSigned, material: Material) -> Check:
    from arstore.trust.apart import confined
    from arstore.trust.sigstore import bundle, verify, x509

    trust = requirement.trust
    log = () if requirement.rekor is None else _public_keys(requirement.rekor, material)
    if isinstance(trust, Fulcio):
        roots = x509.Roots(_certificates(trust.authorities, material))
        fulcio = verify.Fulcio(roots, trust.issuer, trust.email)
        return lambda signature: _claim(confined(partial(verify.verify_with_fulcio, _legacy(signature), fulcio, log)))
    if isinstance(trust, Pki):
        between = () if trust.intermediates is None else _certificates(trust.intermediates, material)
        pki = verify.Pki(x509.Roots(_certificates(trust.roots, material), between), trust.email, trust.hostname)
        return lambda signature: _claim(confined(partial(verify.verify_with_pki, _legacy(signature), pki)))
    keys = _public_keys(trust, material)

    def check(signature: Signature) -> Claim:
        if isinstance(signature, Bundle):
            return Claim(confined(partial(bundle.verify_bundle, signature, keys)).subjects, "")
        return _claim(confined(partial(verify.verify_with_keys, _legacy(signature), keys, log)))

    return check


def _legacy(signature: Signature) -> SigstoreSignature:
    assert isinstance(signature, SigstoreSignature)
    return signature


def _claim(statement: Statement) -> Claim:
    return Claim((statement.digest,), statement.reference)


def _public_keys(source: KeySource, material: Material) -> Sequence[PublicKey]:
    from arstore.trust.keys import read_public_key

    return [read_public_key(data, what) for what, data in material.load(source)]


def _certificates(source: KeySource, material: Material) -> tuple[Certificate, ...]:
    from arstore.trust.sigstore.x509 import read_roots

    return tuple(one for what, data in material.load(source) for one in read_roots(data, what))
