"""Which policy file holds: the one that the user names, else the user's own, else the host's.

The places are those of podman 5 (containers/image 5.39): `~/.config/containers/policy.json`, then
`/etc/containers/policy.json`. The first that is there holds alone; nothing is merged. That version knows no environment
variable and no directory below /usr/share, and it does not look at XDG_CONFIG_HOME (docs/design/decisions/0061).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.errors import PolicyError, reason
from arstore.linux.files.reading import read_file
from arstore.oci.document import shown
from arstore.trust.policy.document import BOUNDS, read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arstore.trust.policy.model import Policy

SYSTEM = "/etc/containers/policy.json"
USER = ".config/containers/policy.json"


def load(given: str = "", environ: Mapping[str, str] | None = None, system: str = SYSTEM) -> Policy | None:
    """The policy that holds: of the file *given* with `--policy`, or of the first that is there; None without any.

    Raises PolicyError for a file that is there and cannot be used, and for a *given* one that is not there.
    """
    if given:
        return read_policy(given, explicit=True)
    home = (os.environ if environ is None else environ).get("HOME") or _home()
    for path in (f"{home}/{USER}" if home else "", system):
        if path and _is_there(path):
            return read_policy(path)
    return None


def read_policy(path: str, *, explicit: bool = False) -> Policy:
    """The policy in the file *path*. Raises PolicyError."""
    try:
        data = read_file(path, BOUNDS.document)
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else "is not a path"
        raise PolicyError(shown(path), why if why.startswith(("is ", "has ")) else f"cannot be read: {why}") from error
    return read(data, shown(path), explicit=explicit)


def _is_there(path: str) -> bool:
    """Whether something has this name, be it a symlink to nothing: only a name that nobody has means "no policy".

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
