"""Certificates: the chain from a signer's certificate to a trusted root, and the names in it.

`cryptography` finds the chain and verifies its signatures. Its rules are made for web servers and do not fit
certificates for code signing, so its checks of extensions are replaced by these, for each chain that it finds:

- every certificate of the chain, including the root, is valid at the given time;
- each issuer is a CA, may sign certificates if it has a key usage, and has at most as many CAs below it as it allows;
- the signer's certificate has a subject alternative name, critical or not, and is for code signing (`codeSigning` or
  any), and so are those issuers that limit their use (RFC 5280, 4.2.1.12; Go's crypto/x509 has the same rule).

It still checks name constraints. Unsupported chains are refused: issuers with Ed25519 keys, or with RSA keys below 2048
bits, and unknown critical extensions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import KeyFileError, SignatureError
from arstore.pattern import pattern
from arstore.trust.keys import PublicKey, blocks, public_key
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from typing import Any

    from cryptography.x509 import Certificate

LARGEST_CERTIFICATE = 64 << 10
"""Bytes of one certificate as PEM, at most; Fulcio's have about one thousand."""
LONGEST_CHAIN = 8
"""Certificates that a signature may include in addition to the signer's."""
_MOST_ROOTS = 512
_ISSUER_V1 = "1.3.6.1.4.1.57264.1.1"
_ISSUER_V2 = "1.3.6.1.4.1.57264.1.8"
_UTF8_STRING = 0x0C
_SAN = "subject alternative name"
_LABEL = pattern(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")


class Roots(NamedTuple):
    """The certificates that a policy trusts, and intermediate ones that lead to them."""

    roots: tuple[Any, ...]
    intermediates: tuple[Any, ...] = ()


def read_roots(data: bytes, what: str) -> tuple[Certificate, ...]:
    """The trusted certificates in the PEM file *data*. Raises KeyFileError if there are none, or one is malformed."""
    from cryptography import x509

    found = blocks(data)
    if not found or len(found) > _MOST_ROOTS or len(found) != data.count(b"-----BEGIN "):
        raise KeyFileError(what, f"holds {len(found)} PEM blocks, but must hold 1 to {_MOST_ROOTS} certificates")
    for label, _ in found:
        if label != "CERTIFICATE":
            raise KeyFileError(what, "holds something other than certificates")
    try:
        return tuple(x509.load_pem_x509_certificate(text + b"\n") for _, text in found)
    except (ValueError, TypeError, x509.InvalidVersion) as error:
        raise KeyFileError(what, "holds a certificate that cannot be read") from error


def read_certificate(text: str) -> Certificate:
    """The signer's certificate in a signature: one PEM block, and nothing else. Raises SignatureError."""
    return _read(text, "certificate", 1, 1)[0]


def read_chain(text: str) -> tuple[Certificate, ...]:
    """The intermediate certificates in a signature; empty for "". Raises SignatureError.

    The last one is the root by convention. It is left out, because a root is trusted only if it comes from the policy,
    never because a signature includes it.
    """
    return () if not text else _read(text, "certificate chain", 1, LONGEST_CHAIN)[:-1]


def verify_chain(leaf: Certificate, chain: Sequence[Certificate], trusted: Roots, at: datetime) -> PublicKey:
    """Return the key of *leaf* if there is a path from it to one of the trusted roots that is valid at the time *at*.

    Raises SignatureError.
    """
    from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

    untrusted = _distinct(chain)
    try:
        builder = PolicyBuilder().store(Store(list(trusted.roots))).time(at).max_chain_depth(LONGEST_CHAIN)
        builder = builder.extension_policies(ca_policy=_of_issuers(), ee_policy=_of_signers())
        verified = builder.build_client_verifier().verify(leaf, [*trusted.intermediates, *untrusted])
    except VerificationError as error:
        raise SignatureError("certificate", f"no valid chain to a trusted root: {_first_line(error)}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise SignatureError("certificate", "the chain to a trusted root cannot be read") from error
    _check_chain(list(verified.chain), at)
    try:
        return public_key(leaf.public_key(), "certificate")
    except (KeyFileError, ValueError, TypeError) as error:
        why = error.why if isinstance(error, KeyFileError) else "has a key that cannot be read"
        raise SignatureError("certificate", why) from error


def emails_of(leaf: Certificate) -> tuple[str, ...]:
    """The e-mail addresses in the subject alternative name, unchanged. Raises SignatureError."""
    from cryptography.x509 import RFC822Name

    return tuple(_alternative_names(leaf).get_values_for_type(RFC822Name))


def check_hostname(leaf: Certificate, host: str) -> None:
    """Check that the certificate is for *host*, a DNS name or an IP address. Raises SignatureError.

    RFC 6125, as implemented in Go: case does not matter, and `*` matches the whole first label of a name that has at
    least two others.
    """
    from cryptography.x509 import DNSName, IPAddress

    names = _alternative_names(leaf)
    address = _address(host)
    if address is not None:
        if address in names.get_values_for_type(IPAddress):
            return
    elif any(_is_for(pattern, host) for pattern in names.get_values_for_type(DNSName)):
        return
    raise SignatureError("certificate", f"is not for the host {host}")


def oidc_issuer_of(leaf: Certificate) -> str:
    """The OIDC issuer that confirmed the signer's identity to Fulcio; if both extensions exist, they must agree.

    Raises SignatureError.
    """
    found = {text for text in (_raw_issuer(leaf), _der_issuer(leaf)) if text is not None}
    if not found:
        raise SignatureError("certificate", "does not name the OIDC issuer of the signer")
    if len(found) > 1:
        raise SignatureError("certificate", "names two different OIDC issuers")
    return found.pop()


def _read(text: str, what: str, least: int, most: int) -> tuple[Certificate, ...]:
    from cryptography import x509

    if len(text) > most * LARGEST_CERTIFICATE:
        raise SignatureError(what, f"has {len(text)} characters; at most {most * LARGEST_CERTIFICATE} are allowed")
    data = text.encode("utf-8", "replace")
    found = blocks(data)
    outside = data if len(found) > most else _without(data, found)
    if outside.strip() or not least <= len(found) <= most or any(label != "CERTIFICATE" for label, _ in found):
        wanted = "one certificate" if most == 1 else f"{least} to {most} certificates"
        raise SignatureError(what, f"is not the PEM text of {wanted}")
    try:
        return tuple(x509.load_pem_x509_certificate(block + b"\n") for _, block in found)
    except (ValueError, TypeError, x509.InvalidVersion) as error:
        raise SignatureError(what, "holds a certificate that cannot be read") from error


def _without(data: bytes, found: Sequence[tuple[str, bytes]]) -> bytes:
    for _, block in found:
        data = data.replace(block, b"", 1)
    return data


def _distinct(chain: Sequence[Certificate]) -> list[Certificate]:
    """Check that no two certificates of *chain* have the same subject: there would be too many paths to try."""
    subjects = [one.subject.public_bytes() for one in chain]
    if len(set(subjects)) != len(subjects):
        raise SignatureError("certificate chain", "has two certificates with the same subject")
    return list(chain)


def _of_issuers() -> Any:  # noqa: ANN401 - not typed there
    from cryptography import x509
    from cryptography.x509.verification import Criticality, ExtensionPolicy

    return ExtensionPolicy.permit_all().require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _must_be_ca)


def _of_signers() -> Any:  # noqa: ANN401 - not typed there
    from cryptography import x509
    from cryptography.x509.verification import Criticality, ExtensionPolicy

    names = ExtensionPolicy.permit_all().require_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)
    return names.may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, None)


def _must_be_ca(_policy: object, _certificate: object, extension: Any) -> None:  # noqa: ANN401
    if not extension.ca:
        raise ValueError("an issuer is not a CA")


def _check_chain(chain: list[Certificate], at: datetime) -> None:
    """The checks of the replaced extension policies; *chain* begins with the signer's certificate."""
    from cryptography import x509

    for depth, one in enumerate(chain):
        if not one.not_valid_before_utc <= at <= one.not_valid_after_utc:
            raise SignatureError("certificate", "a certificate of the chain is not valid at that time")
        _check_usage(one)
        constraints = _extension(one, x509.BasicConstraints)
        if depth == 0:
            usage = _extension(one, x509.KeyUsage)
            if usage is not None and not usage.digital_signature:
                raise SignatureError("certificate", "is not for signatures")
            continue
        if constraints is None or not constraints.ca:
            raise SignatureError("certificate chain", "an issuer is not a CA")
        if constraints.path_length is not None and constraints.path_length < depth - 1:
            raise SignatureError("certificate chain", "an issuer has more CAs below it than it allows")
        usage = _extension(one, x509.KeyUsage)
        if usage is not None and not usage.key_cert_sign:
            raise SignatureError("certificate chain", "an issuer may not sign certificates")


def _check_usage(one: Certificate) -> None:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    usage = _extension(one, x509.ExtendedKeyUsage)
    allowed = {ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    if usage is not None and not allowed & set(usage):
        raise SignatureError("certificate", "is not for signing code")


def must_sign_code(leaf: Certificate) -> None:
    """Check that *leaf* says that it is for code signing, as Fulcio's do. Raises SignatureError."""
    from cryptography import x509

    if _extension(leaf, x509.ExtendedKeyUsage) is None:
        raise SignatureError("certificate", "does not say that it is for signing code")
    _check_usage(leaf)


def _extension(one: Certificate, kind: Any) -> Any:  # noqa: ANN401 - the value's type is that of *kind*
    from cryptography import x509

    try:
        return one.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
    except Exception as error:  # several classes, some of them of its Rust part
        raise SignatureError("certificate", "has extensions that cannot be read") from error


def _alternative_names(leaf: Certificate) -> Any:  # noqa: ANN401 - as `_extension`
    from cryptography import x509

    names = _extension(leaf, x509.SubjectAlternativeName)
    if names is None:
        raise SignatureError("certificate", f"has no {_SAN}")
    return names


def _unknown(leaf: Certificate, oid: str) -> bytes | None:
    from cryptography import x509

    try:
        found = leaf.extensions.get_extension_for_oid(x509.ObjectIdentifier(oid)).value
    except x509.ExtensionNotFound:
        return None
    except Exception as error:  # as above
        raise SignatureError("certificate", "has extensions that cannot be read") from error
    return found.public_bytes()


def _raw_issuer(leaf: Certificate) -> str | None:
    data = _unknown(leaf, _ISSUER_V1)
    return None if data is None else _text(data)


def _der_issuer(leaf: Certificate) -> str | None:
    data = _unknown(leaf, _ISSUER_V2)
    if data is None:
        return None
    # A UTF8String of fewer than 128 bytes, or with a length of one or two bytes.
    head = {0x81: 3, 0x82: 4}.get(data[1] if len(data) > 1 else 0, 2)
    length = data[1] if head == 2 and len(data) > 1 else int.from_bytes(data[2:head], "big")
    if data[:1] != bytes([_UTF8_STRING]) or len(data) != head + length or (head > 2 and length < 128):
        raise SignatureError("certificate", "names an OIDC issuer that is not a DER string")
    return _text(data[head:])


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SignatureError("certificate", "names an OIDC issuer that is not UTF-8") from error


def _address(host: str) -> Any:  # noqa: ANN401 - one of two classes
    import ipaddress

    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def _is_for(pattern: str, host: str) -> bool:
    wanted, found = host.lower().removesuffix(".").split("."), pattern.lower().split(".")
    if len(wanted) != len(found) or not all(map(_LABEL.fullmatch, wanted)):
        return False
    first_fits = found[0] == wanted[0] or (found[0] == "*" and len(found) > 2)
    return first_fits and found[1:] == wanted[1:]


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")[:200]
