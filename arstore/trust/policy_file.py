"""Find the policy file that applies: the one that the user names, else the user's own, else the host's.

The places are those of podman 5 (containers/image 5.39): `~/.config/containers/policy.json`, then
`/etc/containers/policy.json`. Only the first one that exists applies; files are not merged. That version reads neither
an environment variable nor a directory below /usr/share, and it ignores XDG_CONFIG_HOME (docs/design/decisions/0061).

Most hosts have the file of their distribution, which accepts every image. `accepts_everything` recognises it without
loading the module that parses policies (`policy.document`).
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from arstore.errors import PolicyError, reason
from arstore.linux.files.reading import read_file
from arstore.linux.isolation.user_namespace import acting_uid, is_initial
from arstore.oci.document import shown
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from arstore.trust.policy.model import Policy

SYSTEM = "/etc/containers/policy.json"
USER = ".config/containers/policy.json"
LARGEST = 4 << 20
"""Bytes of a policy file, at most."""
_PLAIN = 1 << 16
_ACCEPTS = [{"type": "insecureAcceptAnything"}]


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
    path = f"{home}/{USER}"
    # A HOME that may not be looked into is another user's, as after su(1): what is in there is not this user's.
    if home and _is_there(path, hidden=False):
        return PolicyFile(path, _content(path))
    path = system or SYSTEM
    return PolicyFile(path, _content(path)) if _is_there(path) else None


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


def _is_there(path: str, *, hidden: bool | None = None) -> bool:
    """Whether *path* exists, even as a dangling symlink: there is "no policy" only if the name does not exist.

    *hidden* is the answer where this user may not look. Raises PolicyError, also for that without an answer.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if isinstance(error, PermissionError) and hidden is not None:
            return hidden
        raise PolicyError(shown(path), f"cannot be read: {reason(error)}") from error
    return True


def _home() -> str:
    """The home directory of this user's account; "" without an account."""
    import pwd

    try:
        # In a user namespace, an ordinary user is called root.
        return pwd.getpwuid(os.getuid() if is_initial() else acting_uid()).pw_dir
    except KeyError:
        return ""


def accepts_everything(data: bytes) -> bool:
    """Whether *data* is a valid policy in which every list of requirements is just `insecureAcceptAnything`.

    False for everything else, valid or not.
    """
    if len(data) > _PLAIN:
        return False
    try:
        document = json.loads(data.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return False
    if not isinstance(document, dict) or document.keys() - {"default", "transports"}:
        return False
    transports = document.get("transports", {})
    return (
        document.get("default") == _ACCEPTS
        and isinstance(transports, dict)
        and all(
            isinstance(scopes, dict) and all(scope == "" and list_ == _ACCEPTS for scope, list_ in scopes.items())
            for scopes in transports.values()
        )
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found
