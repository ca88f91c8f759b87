"""Signed OpenPGP messages, verified with a keyring and nothing else.

A message that is taken is a binary signed one (containers-signature(5)), so it begins with a packet that is compressed
data, a one-pass signature or a signature: a blob that begins otherwise is armoured, in clear text, a bare literal or
something else, and is refused before any program reads it. A subkey's signature counts for its primary key.

gpg does the work in a fresh home directory that holds the given keys; `Keyring` keeps it for more than one message.
Without gpg, pysequoia does, if it is there; without both, everything is refused.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from arstore.errors import HostError, KeyFileError, SignatureError, from_os_error
from arstore.trust.apart import confined
from arstore.trust.openpgp import program, sequoia, status
from arstore.trust.payload import SIMPLE, Statement, read_statement
from arstore.trust.signature import LARGEST
from arstore.values import NamedTuple
from arstore.workers.wire import answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_WHAT = "OpenPGP signature"
_FIRST_BYTES = frozenset([0xA0, 0xA1, 0xA2, 0xA3, 0xC8, 0x90, 0x91, 0x92, 0xC4, 0x88, 0x89, 0x8A, 0x8B, 0xC2])
"""How packets of the three kinds begin, in the old and the new format (RFC 9580, 4.2)."""
_HINT = "install gpg, or pysequoia (`pip install 'arstore[sequoia]'`)"


@answer
class Verified(NamedTuple):
    """A text, and the fingerprint of the primary key that signed it (upper-case hexadecimal)."""

    payload: bytes
    fingerprint: str


class Keyring(Protocol):
    """Keys that messages are verified with."""

    def verify(self, blob: bytes) -> Verified:
        """The text in the signed message *blob*, and who signed it. Raises SignatureError."""


@contextmanager
def opened(keyring: Sequence[bytes], gpg: str | None = None) -> Iterator[Keyring]:
    """Make the keys in *keyring* (contents of files, binary or armoured) ready; *gpg* is the program, "" for none.

    Raises KeyFileError for a file without a key, HostError without gpg and pysequoia.
    """
    if not keyring:
        raise KeyFileError("OpenPGP keyring", "holds no public key")
    for number, data in enumerate(keyring, 1):
        if len(data) > LARGEST:
            raise KeyFileError(f"OpenPGP keyring {number}", f"has {len(data)} bytes, {LARGEST} are allowed")
    chosen = program.find() if gpg is None else gpg
    if chosen:
        with _Home(chosen) as home:
            home.take(keyring)
            yield home
    elif sequoia.available():
        yield _Sequoia(sequoia.Certificates(keyring))
    else:
        raise HostError(_WHAT, "neither gpg nor pysequoia is installed to verify it", _HINT)


def verify(blob: bytes, keyring: Sequence[bytes], gpg: str | None = None) -> Verified:
    """As `Keyring.verify`, for one message. Raises SignatureError, and what `opened` raises."""
    check_form(blob)
    with opened(keyring, gpg) as keys:
        return keys.verify(blob)


def verify_statement(blob: bytes, keys: Keyring) -> tuple[Statement, str]:
    """The statement in a signed message, and the fingerprint of the key that signed it. Raises SignatureError."""
    found = keys.verify(blob)
    return read_statement(found.payload, SIMPLE), found.fingerprint


def check_form(blob: bytes) -> None:
    """Return when *blob* may be a signed message, by its size and its first byte. Raises SignatureError."""
    if not blob:
        raise SignatureError(_WHAT, "is empty")
    if len(blob) > LARGEST:
        raise SignatureError(_WHAT, f"has {len(blob)} bytes, {LARGEST} are allowed")
    if blob[0] not in _FIRST_BYTES:
        raise SignatureError(_WHAT, f"begins with the byte {blob[0]:#04x}, as no binary signed message does")


class _Home:
    """A fresh home directory of gpg's."""

    def __init__(self, gpg: str) -> None:
        self._gpg = gpg
        self._path = ""

    def __enter__(self) -> _Home:
        try:
            self._path = tempfile.mkdtemp(prefix="arstore-gpg-")
            # New versions make one themselves that asks for a daemon.
            os.close(os.open(f"{self._path}/common.conf", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError as error:
            raise from_os_error(error, "directory for gpg") from error
        return self

    def __exit__(self, *_exception: object) -> None:
        shutil.rmtree(self._path, ignore_errors=True)

    def take(self, keyring: Sequence[bytes]) -> None:
        for number, data in enumerate(keyring, 1):
            if not status.imported(self._run(["--import"], data).lines):
                raise KeyFileError(f"OpenPGP keyring {number}", "holds no public key that gpg takes")

    def verify(self, blob: bytes) -> Verified:
        """The text in the signed message *blob*, and who signed it. Raises SignatureError."""
        check_form(blob)
        answer = self._run(["--output", "-", "--verify", "-"], blob, LARGEST)
        return Verified(answer.output, status.signer_of(answer.lines, answer.code))

    def _run(self, arguments: list[str], data: bytes, most: int = 0) -> program.Answer:
        # The language has no influence on status lines; it is set all the same.
        environ = {"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath), "GNUPGHOME": self._path}
        alone = [
            "--no-options",
            "--homedir",
            self._path,
            "--no-autostart",
            "--trust-model",
            "always",
            "--no-auto-check-trustdb",
        ]
        return program.run(self._gpg, [*alone, "--no-auto-key-retrieve", *arguments], environ, data, most)


class _Sequoia:
    """The same by pysequoia."""

    def __init__(self, certificates: sequoia.Certificates) -> None:
        self._certificates = certificates

    def verify(self, blob: bytes) -> Verified:
        """The text in the signed message *blob*, and who signed it. Raises SignatureError."""
        check_form(blob)
        # A compressed message can be a thousand times its size, and pysequoia makes all of it.
        return confined(lambda: Verified(*self._certificates.verify(blob, LARGEST)))
