"""/etc/passwd and /etc/group of a container: entries for a user or group that the image does not have.

As in podman, a numeric user without an entry gets one, so that programs find a home and a name. The files are copies
in the bundle, mounted over the image's, which stay as they are. Out of scope: which user the container runs as
(`users`).
"""

from __future__ import annotations

import pwd
from typing import TYPE_CHECKING

from arstore.builtin import pattern
from arstore.errors import NotFoundError
from arstore.runtime.spec.sizes import refused
from arstore.runtime.spec.users import FILE_LIMIT
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from arstore.runtime.spec.image_files import RootDirectory
    from arstore.runtime.spec.users import User

_VARIABLE = pattern(r"\$(USERNAME|UID|GID|NAME|GROUPNAME|HOME)\b|\$\{(USERNAME|UID|GID|NAME|GROUPNAME|HOME)\}")


class Accounts(NamedTuple):
    """Which entries to add. The texts may contain $USERNAME, $UID, $GID and $HOME, as in podman."""

    adds: bool = True
    """Whether the container's user and group get entries if they have none."""
    passwd_entry: str = ""
    group_entry: str = ""
    host_users: tuple[str, ...] = ()
    """Lines of the host's /etc/passwd, already looked up."""


def parse_entry(text: str, fields: int) -> str:
    """Return an entry with this number of fields. Raises UsageError."""
    if text.count(":") != fields - 1 or "\n" in text or "\0" in text:
        raise refused(text, f"not an entry of {fields} fields, separated by colons")
    return text


def host_user(name: str) -> str:
    """Return the entry of the host's user with this name or number. Raises NotFoundError."""
    try:
        found = pwd.getpwuid(int(name)) if name.isascii() and name.isdigit() else pwd.getpwnam(name)
    except (KeyError, OverflowError, ValueError):
        raise NotFoundError(f"user {name!r}", "no such user on this host") from None
    return f"{found.pw_name}:*:{found.pw_uid}:{found.pw_gid}:{found.pw_gecos}:{found.pw_dir}:{found.pw_shell}"


def account_files(accounts: Accounts, user: User, home: str, root: RootDirectory) -> dict[str, str]:
    """Return the new contents of /etc/passwd and /etc/group, by path; neither if nothing has to be added.

    A file that the image does not have is not made. Raises ImageConfigError for one that is not a regular file.
    """
    if not accounts.adds:
        return {}
    values = {"USERNAME": user.name or str(user.uid), "UID": str(user.uid), "GID": str(user.gid), "HOME": home}
    values["NAME"] = values["USERNAME"]
    values["GROUPNAME"] = str(user.gid)
    passwd, group = _text("/etc/passwd", root), _text("/etc/group", root)
    found = {}
    lines = [line for line in accounts.host_users if not _has(passwd, 2, line.split(":")[2])]
    own = _filled(accounts.passwd_entry or "$USERNAME:*:$UID:$GID:container user:$HOME:/bin/sh", values)
    if not user.name and not _has("\n".join(lines), 2, str(user.uid)):
        lines.append(own)
    if lines and passwd is not None:
        found["/etc/passwd"] = _appended(passwd, lines)
    if accounts.group_entry and group is not None and not _has(group, 2, str(user.gid)):
        found["/etc/group"] = _appended(group, [_filled(accounts.group_entry, values)])
    elif group is not None and not _has(group, 2, str(user.gid)):
        found["/etc/group"] = _appended(group, [f"{user.gid}:x:{user.gid}:{values['USERNAME']}"])
    return found


def _text(path: str, root: RootDirectory) -> str | None:
    data = root.read(path, FILE_LIMIT)
    return None if data is None else data.decode("utf-8", "surrogateescape")


def _has(text: str | None, number: int, value: str) -> bool:
    """Whether a line of *text* has *value* in the field with this number."""
    lines = (line.split(":") for line in (text or "").split("\n"))
    return any(len(fields) > number and fields[number] == value for fields in lines)


def _appended(text: str, lines: list[str]) -> str:
    return "\n".join([*([text.rstrip("\n")] if text.strip("\n") else []), *lines]) + "\n"


def _filled(entry: str, values: dict[str, str]) -> str:
    return _VARIABLE.sub(lambda match: values[match[1] or match[2]], entry)
