"""Find the policy file that applies: the one that the user names, else the user's own, else the host's.

The places are those of podman 5 (containers/image 5.39): `~/.config/containers/policy.json`, then
`/etc/containers/policy.json`. Only the first one that exists applies; files are not merged. That version reads neither
an environment variable nor a directory below /usr/share, and it ignores XDG_CONFIG_HOME (docs/design/decisions/0061).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.errors import PolicyError, reason
from arstore.linux.files.reading import read_file
from arstore.oci.document import shown
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arstore.trust.policy.model import Policy

SYSTEM = "/etc/containers/policy.json"
USER = ".config/containers/policy.json"


LARGEST = 4 << 20
"""Bytes of a policy file, at most."""


class PolicyFile(NamedTuple):
    """A policy file that was read; `explicit` is True if the user named it with `--policy`."""

    path: str
    data: bytes
    explicit: bool = False


def find_file(given: str = "", environ: Mapping[str, str] | None = None, system: str = "") -> PolicyFile | None:
    """The file that applies: *given*, or the first one that exists; None if there is none. It is not parsed.

    Raises PolicyError for a file that exists but cannot be read, and for a *given* one that does not exist.
    """
    if given:
        return PolicyFile(given, _content(given), explicit=True)
    home = (os.environ if environ is None else environ).get("HOME") or _home()
    for path in (f"{home}/{USER}" if home else "", system or SYSTEM):
        if path and _is_there(path):
            return PolicyFile(path, _content(path))
    return None


def load(given: str = "", environ: Mapping[str, str] | None = None, system: str = "") -> Policy | None:
    """The policy in the file that applies; None if there is none. Raises PolicyError, also for its content."""
    found = find_file(given, environ, system)
    return None if found is None else parse(found)


def read_policy(path: str, *, explicit: bool = False) -> Policy:
    """The policy in the file *path*. Raises PolicyError."""
    return parse(PolicyFile(path, _content(path), explicit))


def parse(file: PolicyFile) -> Policy:
    """Parse the policy in *file*. Raises PolicyError."""
    from arstore.trust.policy.document import read

    return read(file.data, shown(file.path), explicit=file.explicit)


def _content(path: str) -> bytes:
    try:
        return read_file(path, LARGEST)
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else "is not a path"
        raise PolicyError(shown(path), why if why.startswith(("is ", "has ")) else f"cannot be read: {why}") from error


def _is_there(path: str) -> bool:
    """Whether *path* exists, even as a dangling symlink: there is "no policy" only if the name does not exist.

    Raises PolicyError.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise PolicyError(shown(path), f"cannot be read: {reason(error)}") from error
    return True


def _home() -> str:
    """The home directory of this user's account; "" without an account."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return ""
