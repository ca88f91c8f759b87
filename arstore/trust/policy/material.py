"""Keys and certificates that a policy refers to: each file is read once, when a requirement needs it.

A requirement fails if one of its files cannot be read, is not a regular file, is empty or is larger than any key; such
a file is never treated as "no keys". Not in scope: the content of the files.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from arstore.errors import KeyFileError, reason
from arstore.linux.files.reading import read_file
from arstore.oci.document import shown
from arstore.trust.policy.model import Fulcio, KeySource, Pki, SignedBy, SigstoreSigned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.trust.policy.model import Policy, Requirement

LARGEST = 4 << 20
"""Bytes of a key file, at most: keyrings of distributions have less than one MiB."""


class Material:
    """The key files of one command."""

    def __init__(self) -> None:
        self._files: dict[str, bytes | KeyFileError] = {}

    def load(self, source: KeySource) -> tuple[tuple[str, bytes], ...]:
        """The content of each file of *source*, or its data, with a name for messages. Raises KeyFileError."""
        given = tuple((source.field, data) for data in source.data)
        return (*given, *((shown(path), self._file(path)) for path in source.paths))

    def fingerprint(self, policy: Policy) -> str:
        """A hexadecimal digest of the policy and of the content of its key files.

        It changes when a key file changes, appears or disappears; a kept verdict is valid for one fingerprint.
        """
        hasher = hashlib.sha256(f"{policy.digest}\0{policy.explicit}\0".encode())
        for path in sorted({path for source in sources(policy) for path in source.paths}):
            try:
                found = hashlib.sha256(self._file(path)).hexdigest()
            except KeyFileError as error:
                found = error.why
            hasher.update(f"{path}\0{found}\0".encode("utf-8", "surrogateescape"))
        return hasher.hexdigest()

    def _file(self, path: str) -> bytes:
        known = self._files.get(path)
        if known is None:
            known = self._files[path] = _read(path)
        if isinstance(known, KeyFileError):
            raise KeyFileError(known.what, known.why)
        return known


def sources(policy: Policy) -> Iterator[KeySource]:
    """Every location of keys that *policy* names, in its own order, with repetitions."""
    yield from (one for requirement in policy.default for one in sources_of(requirement))
    for scopes in policy.transports.values():
        for requirements in scopes.values():
            yield from (one for requirement in requirements for one in sources_of(requirement))


def sources_of(requirement: Requirement) -> Iterator[KeySource]:
    """The locations of the keys of one requirement."""
    if isinstance(requirement, SignedBy):
        yield requirement.keys
    elif isinstance(requirement, SigstoreSigned):
        trust = requirement.trust
        if isinstance(trust, Fulcio):
            yield trust.authorities
        elif isinstance(trust, Pki):
            yield trust.roots
            if trust.intermediates is not None:
                yield trust.intermediates
        else:
            yield trust
        if requirement.rekor is not None:
            yield requirement.rekor


def _read(path: str) -> bytes | KeyFileError:
    try:
        data = read_file(path, LARGEST)
    except OSError as error:
        return KeyFileError(shown(path), f"cannot be read: {reason(error)}")
    return data or KeyFileError(shown(path), "is empty")
