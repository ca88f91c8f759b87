"""A user of gpg with some keys, and messages made with them: valid ones, and many kinds of others."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PAST = "20200101T000000"
"""A time long ago, for keys and signatures that have expired since."""


class Gpg:
    """gpg with its home in *home*; `close` ends its agent."""

    def __init__(self, home: Path) -> None:
        home.mkdir(mode=0o700, exist_ok=True)
        self.home = home
        self.environ = {**os.environ, "GNUPGHOME": str(home), "LC_ALL": "C"}

    def run(self, *words: str, data: bytes = b"", fails: bool = False) -> bytes:
        """The output of gpg; with *fails*, its exit status is ignored."""
        quiet = ("gpg", "--batch", "--yes", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", "")
        done = subprocess.run([*quiet, *words], input=data, env=self.environ, capture_output=True, check=False)
        assert fails or done.returncode == 0, done.stderr.decode()
        return done.stdout

    def new_key(self, address: str, *, expire: str = "never", time: str = "", kind: str = "ed25519") -> str:
        """Make a key that signs; return its fingerprint."""
        faked = ("--faked-system-time", f"{time}!") if time else ()
        self.run(*faked, "--quick-generate-key", f"Tester <{address}>", kind, "sign", expire)
        return self.fingerprint(address)

    def new_subkey(self, fingerprint: str, *, expire: str = "never", time: str = "") -> None:
        """Add a subkey that signs to a key; it is used from now on."""
        faked = ("--faked-system-time", f"{time}!") if time else ()
        self.run(*faked, "--quick-add-key", fingerprint, "ed25519", "sign", expire)

    def fingerprint(self, address: str) -> str:
        """The fingerprint of the primary key of *address*."""
        lines = self.run("--with-colons", "--list-keys", address).decode().splitlines()
        return next(line.split(":")[9] for line in lines if line.startswith("fpr:"))

    def public(self, address: str, *, armor: bool = False) -> bytes:
        """The public key of *address*, as in a file."""
        return self.run("--export", *(["--armor"] if armor else []), address)

    def sign(self, address: str, data: bytes, *options: str, verb: str = "--sign") -> bytes:
        """A message around *data*."""
        return self.run("--local-user", address, *options, "--output", "-", verb, data=data)

    def revoke(self, fingerprint: str) -> None:
        """Revoke a whole key, with the certificate that gpg made with it."""
        text = (self.home / "openpgp-revocs.d" / f"{fingerprint}.rev").read_text()
        self.run("--import", data=text.replace(":-----BEGIN", "-----BEGIN").encode())

    def revoke_subkey(self, fingerprint: str) -> None:
        """Revoke the first subkey of a key."""
        answers = b"key 1\nrevkey\ny\n0\n\ny\nsave\n"
        words = ("gpg", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", "", "--command-fd", "0")
        command = [*words, "--status-fd", "2", "--edit-key", fingerprint]
        subprocess.run(command, input=answers, env=self.environ, capture_output=True, check=True)

    def close(self) -> None:
        """End the agent that gpg has started."""
        subprocess.run(["gpgconf", "--kill", "all"], env=self.environ, capture_output=True, check=False)
