"""Verify signed OpenPGP messages with a keyring and nothing else.

Only binary signed messages are accepted (containers-signature(5)). They begin with a packet of compressed data, a
one-pass signature or a signature. A blob with another beginning is armoured, clear text, a bare literal or something
else, and is refused before a program reads it. A subkey's signature counts for its primary key.

gpg verifies in a new home directory that holds the given keys; `Keyring` keeps it for several messages. Without gpg,
pysequoia is used if it is installed; without either, everything is refused.
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
"""First bytes of packets of the three kinds, in the old and the new format (RFC 9580, 4.2)."""
_HINT = "install gpg, or pysequoia (`pip install 'arstore[sequoia]'`)"


@answer
class Verified(NamedTuple):
    """A text, and the fingerprint of the primary key that signed it (upper-case hexadecimal)."""

    payload: bytes
    fingerprint: str


class Keyring(Protocol):
    """Keys to verify messages with."""

    def verify(self, blob: bytes) -> Verified:
        """The text in the signed message *blob*, and its signer. Raises SignatureError."""


@contextmanager
def opened(keyring: Sequence[bytes], gpg: str | None = None) -> Iterator[Keyring]:
    """Prepare the keys in *keyring* (contents of files, binary or armoured); *gpg* is the program, "" for none.

    Raises KeyFileError for a file without a key, HostError without gpg and pysequoia.
    """
    if not keyring:
        raise KeyFileError("OpenPGP keyring", "holds no public key")
    for number, data in enumerate(keyring, 1):
        if len(data) > LARGEST:
            raise KeyFileError(f"OpenPGP keyring {number}", f"has {len(data)} bytes; at most {LARGEST} are allowed")
    chosen = program.find() if gpg is None else gpg
    if chosen:
        with _Home(chosen) as home:
            home.take(keyring)
            yield home
    elif sequoia.available():
        yield _Sequoia(sequoia.Certificates(keyring))
    else:
        raise HostError(_WHAT, "cannot be verified: neither gpg nor pysequoia is installed", _HINT)


def verify(blob: bytes, keyring: Sequence[bytes], gpg: str | None = None) -> Verified:
    """Verify one message, as `Keyring.verify` does. Raises SignatureError, KeyFileError, HostError."""
    check_form(blob)
    with opened(keyring, gpg) as keys:
        return keys.verify(blob)


def verify_statement(blob: bytes, keys: Keyring) -> tuple[Statement, str]:
    """The statement in a signed message, and the fingerprint of the key that signed it. Raises SignatureError."""
    found = keys.verify(blob)
    return read_statement(found.payload, SIMPLE), found.fingerprint


def check_form(blob: bytes) -> None:
    """Check by its size and first byte that *blob* may be a signed message. Raises SignatureError."""
    if not blob:
        raise SignatureError(_WHAT, "is empty")
    if len(blob) > LARGEST:
        raise SignatureError(_WHAT, f"has {len(blob)} bytes; at most {LARGEST} are allowed")
    if blob[0] not in _FIRST_BYTES:
        raise SignatureError(_WHAT, f"begins with the byte {blob[0]:#04x}, so it is not a binary signed message")


class _Home:
    """A new home directory for gpg."""

    def __init__(self, gpg: str) -> None:
        self._gpg = gpg
        self._path = ""

    def __enter__(self) -> _Home:
        try:
            self._path = tempfile.mkdtemp(prefix="arstore-gpg-")
            # Without this file, new versions write one that starts a daemon.
            os.close(os.open(f"{self._path}/common.conf", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError as error:
            raise from_os_error(error, "directory for gpg") from error
        return self

    def __exit__(self, *_exception: object) -> None:
        shutil.rmtree(self._path, ignore_errors=True)

    def take(self, keyring: Sequence[bytes]) -> None:
        for number, data in enumerate(keyring, 1):
            if not status.imported(self._run(["--import"], data).lines):
                raise KeyFileError(f"OpenPGP keyring {number}", "holds no public key that gpg accepts")

    def verify(self, blob: bytes) -> Verified:
        """The text in the signed message *blob*, and its signer. Raises SignatureError."""
        check_form(blob)
        answer = self._run(["--output", "-", "--verify", "-"], blob, LARGEST)
        return Verified(answer.output, status.signer_of(answer.lines, answer.code))

    def _run(self, arguments: list[str], data: bytes, most: int = 0) -> program.Answer:
        # Status lines do not depend on the language; LC_ALL is set all the same.
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
    """A keyring that verifies with pysequoia."""

    def __init__(self, certificates: sequoia.Certificates) -> None:
        self._certificates = certificates

    def verify(self, blob: bytes) -> Verified:
        """The text in the signed message *blob*, and its signer. Raises SignatureError."""
        check_form(blob)
        # A compressed message can expand a thousandfold, and pysequoia expands all of it in memory.
        return confined(lambda: Verified(*self._certificates.verify(blob, LARGEST)))
