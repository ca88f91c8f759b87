"""Parse policy files strictly: JSON to a `Policy`.

Source: containers-policy.json(5), and containers/image's policy_config.go for details. Everything that this reader
refuses is refused here. Also refused is what it takes as "missing" or "never satisfied": null, empty strings, empty
lists and empty keys, duplicate keys at any depth, text that is not UTF-8. A mistake in a policy must not weaken it
silently. Files that a policy refers to (keys) are not opened here.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from arstore.digest import Digest
from arstore.errors import LimitError, ManifestError, PolicyError
from arstore.oci.document import Bounds, parse, shown
from arstore.trust.policy import identity as identities
from arstore.trust.policy import scope as scopes
from arstore.trust.policy.identity import Identity
from arstore.trust.policy.model import (
    ACCEPT,
    GPG_KEYS,
    REJECT,
    Fulcio,
    KeySource,
    Pki,
    Policy,
    Requirement,
    Requirements,
    SignedBaseLayer,
    SignedBy,
    SigstoreSigned,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

BOUNDS = Bounds(document=4 << 20, json_depth=16)
"""Limits of a policy file, in bytes and levels; a real one has eight levels."""
KEY_TYPES = (GPG_KEYS, "signedByGPGKeys", "X509Certificates", "signedByX509CAs")
"""Values of `keyType`. Only the first can be satisfied; the others are known so that files with them can be read."""
_KEYS = ("keyPath", "keyPaths", "keyData", "keyDatas")
_REKOR = ("rekorPublicKeyPath", "rekorPublicKeyPaths", "rekorPublicKeyData", "rekorPublicKeyDatas")


def read(data: bytes, what: str, *, explicit: bool = False) -> Policy:
    """Parse a policy file; *what* names it in messages, *explicit* is True if the user gave it with `--policy`.

    Raises PolicyError.
    """
    try:
        document = parse(data, what, BOUNDS)
    except (LimitError, ManifestError) as error:
        raise PolicyError(error.what, error.why) from error
    return _Reader(what, explicit).policy(document, Digest.of(data))


class _Object:
    """One JSON object: members are taken by key, and unknown ones are refused."""

    def __init__(self, what: str, path: str, value: object) -> None:
        self._what = what
        self._path = path
        if not isinstance(value, dict):
            raise self.error("is not an object")
        self.members: dict[str, Any] = value

    def error(self, why: str, key: str = "") -> PolicyError:
        """An error about the object, or about its member *key*."""
        path = self.at(key) if key else self._path
        return PolicyError(self._what, f"{path}: {why}" if path else why)

    def at(self, key: str) -> str:
        """The path of a member."""
        return f"{self._path}.{key}" if self._path else key

    def keep_to(self, known: Collection[str]) -> None:
        """Refuse every key but the *known* ones."""
        for key in self.members:
            if key not in known:
                alike = [one for one in known if one.casefold() == key.casefold()]
                hint = f"; the correct spelling is {alike[0]}" if alike else ""
                raise self.error(f"the key {shown(repr(key))} is not known{hint}")

    def one_of(self, keys: Collection[str], *, required: bool) -> str:
        """The only member of *keys* that is present; "" if none is, unless one is *required*. Raises PolicyError."""
        present = [key for key in keys if key in self.members]
        if len(present) > 1:
            raise self.error(f"has {' and '.join(present)}; only one is allowed")
        if required and not present:
            raise self.error(f"needs one of {', '.join(keys)}")
        return present[0] if present else ""

    def text(self, key: str) -> str:
        """A string that must be present and not empty."""
        if key not in self.members:
            raise self.error(f"the key {key} is missing")
        return self._text(self.members[key], key)

    def optional_text(self, key: str) -> str:
        """A string that must not be empty; "" if it is missing."""
        return self.text(key) if key in self.members else ""

    def source(self, key: str) -> KeySource:
        """The location of keys in the member *key*: a path, a list of paths, base64 data, or a list of these."""
        value = self.members[key]
        if key.endswith("s"):
            if not isinstance(value, list) or not value:
                raise self.error("is not a list with at least one entry", key)
            texts = tuple(self._text(one, f"{key}[{number}]") for number, one in enumerate(value))
        else:
            texts = (self._text(value, key),)
        if "Path" in key:
            return KeySource(key, paths=texts)
        return KeySource(key, data=tuple(self._decoded(text, key) for text in texts))

    def _text(self, value: object, key: str) -> str:
        if not isinstance(value, str):
            raise self.error("is not a string", key)
        if not value or "\0" in value:
            raise self.error("holds a NUL character" if value else "is empty", key)
        return value

    def _decoded(self, text: str, key: str) -> bytes:
        # Go's decoder ignores line breaks, and nothing else.
        try:
            data = base64.b64decode(text.translate({10: None, 13: None}), validate=True)
        except (binascii.Error, ValueError) as error:
            raise self.error("is not base64", key) from error
        if not data:
            raise self.error("is empty", key)
        return data


class _Reader:
    def __init__(self, what: str, explicit: bool) -> None:
        self._what = what
        self._explicit = explicit

    def policy(self, document: dict[str, Any], digest: Digest) -> Policy:
        top = _Object(self._what, "", document)
        top.keep_to(("default", "transports"))
        if "default" not in document:
            raise top.error("the key default is missing")
        default = self._requirements(document["default"], "default")
        transports: dict[str, Mapping[str, Requirements]] = {}
        if "transports" in document:
            for name, value in _Object(self._what, "transports", document["transports"]).members.items():
                transports[name] = self._scopes(name, value)
        return Policy(default, transports, self._what, digest, self._explicit)

    def _scopes(self, transport: str, value: object) -> dict[str, Requirements]:
        path = f"transports.{shown(transport)}"
        section = _Object(self._what, path, value)
        found: dict[str, Requirements] = {}
        for scope, requirements in section.members.items():
            place = f"{path}.{shown(repr(scope))}"
            if fault := scopes.fault(transport, scope):
                raise PolicyError(self._what, f"{place}: {fault}")
            found[scope] = self._requirements(requirements, place)
        return found

    def _requirements(self, value: object, path: str) -> Requirements:
        if not isinstance(value, list) or not value:
            raise PolicyError(self._what, f"{path}: is not a list with at least one requirement")
        return tuple(
            self._requirement(_Object(self._what, f"{path}[{number}]", one)) for number, one in enumerate(value)
        )

    def _requirement(self, found: _Object) -> Requirement:
        kind = found.text("type")
        for simple in (ACCEPT, REJECT):
            if kind == simple.type:
                found.keep_to(("type",))
                return simple
        if kind == "signedBy":
            return self._signed_by(found)
        if kind == "sigstoreSigned":
            return self._sigstore_signed(found)
        if kind == "signedBaseLayer":
            found.keep_to(("type", "baseLayerIdentity"))
            return SignedBaseLayer(self._identity(found, "baseLayerIdentity", required=True))
        raise found.error(f"the requirement type {shown(repr(kind))} is unknown")

    def _signed_by(self, found: _Object) -> SignedBy:
        found.keep_to(("type", "keyType", *_KEYS[:3], "signedIdentity"))
        key_type = found.text("keyType")
        if key_type not in KEY_TYPES:
            raise found.error(f"the key type {shown(repr(key_type))} is unknown; write {GPG_KEYS}", "keyType")
        keys = found.source(found.one_of(_KEYS[:3], required=True))
        return SignedBy(key_type, keys, self._identity(found, "signedIdentity"))

    def _sigstore_signed(self, found: _Object) -> SigstoreSigned:
        found.keep_to(("type", *_KEYS, "fulcio", "pki", *_REKOR, "signedIdentity"))
        key = found.one_of((*_KEYS, "fulcio", "pki"), required=True)
        rekor = found.one_of(_REKOR, required=False)
        if key == "fulcio" and not rekor:
            raise found.error(f"fulcio needs one of {', '.join(_REKOR)}")
        if key == "pki" and rekor:
            raise found.error(f"pki and {rekor} cannot be used together")
        trust: KeySource | Fulcio | Pki
        if key == "fulcio":
            trust = self._fulcio(_Object(self._what, found.at(key), found.members[key]))
        elif key == "pki":
            trust = self._pki(_Object(self._what, found.at(key), found.members[key]))
        else:
            trust = found.source(key)
        may_be_any = isinstance(trust, KeySource)
        identity = self._identity(found, "signedIdentity", may_be_any=may_be_any)
        return SigstoreSigned(trust, found.source(rekor) if rekor else None, identity)

    def _fulcio(self, found: _Object) -> Fulcio:
        found.keep_to(("caPath", "caData", "oidcIssuer", "subjectEmail"))
        authorities = found.source(found.one_of(("caPath", "caData"), required=True))
        return Fulcio(authorities, found.text("oidcIssuer"), found.text("subjectEmail"))

    def _pki(self, found: _Object) -> Pki:
        between = ("caIntermediatesPath", "caIntermediatesData")
        found.keep_to(("caRootsPath", "caRootsData", *between, "subjectEmail", "subjectHostname"))
        roots = found.source(found.one_of(("caRootsPath", "caRootsData"), required=True))
        intermediates = found.one_of(between, required=False)
        email, hostname = found.optional_text("subjectEmail"), found.optional_text("subjectHostname")
        if not email and not hostname:
            raise found.error("needs subjectEmail, subjectHostname, or both")
        return Pki(roots, found.source(intermediates) if intermediates else None, email, hostname)

    def _identity(self, found: _Object, key: str, *, required: bool = False, may_be_any: bool = False) -> Identity:
        if key not in found.members:
            if required:
                raise found.error(f"the key {key} is missing")
            return identities.DEFAULT
        rule = _Object(self._what, found.at(key), found.members[key])
        kind = rule.text("type")
        if kind not in identities.MEMBERS:
            raise rule.error(f"the identity type {shown(repr(kind))} is unknown")
        if kind == identities.ANY and not self._explicit:
            raise rule.error(f"{kind} is allowed only in a file that is given with --policy")
        if kind == identities.ANY and not may_be_any:
            raise rule.error(f"{kind} is allowed only for sigstoreSigned with {', '.join(_KEYS)}")
        members = identities.MEMBERS[kind]
        rule.keep_to(("type", *members))
        identity = Identity(kind, *(rule.text(member) for member in members))
        if fault := identities.fault(identity):
            raise rule.error(fault)
        return identity
