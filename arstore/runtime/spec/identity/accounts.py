"""/etc/passwd and /etc/group of a container: entries for a user or group that the image does not have.

As in podman, a numeric user without an entry gets one, so that programs find a home and a name. It is written into the
container's files, so that programs such as useradd can replace them; if the root is read-only, copies in the bundle are
mounted over them. Out of scope: which user the container runs as (`users`).
"""

from __future__ import annotations

import os
import pwd
import stat
from typing import TYPE_CHECKING

from arstore.errors import NotFoundError
from arstore.pattern import pattern
from arstore.runtime.spec.identity.users import FILE_LIMIT, LARGEST_ID
from arstore.runtime.spec.sizes import refused
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from arstore.runtime.spec.identity.users import User
    from arstore.runtime.spec.image_files import RootDirectory

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
    values = _values(user, home)
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
    elif group is not None and not _has(group, 2, str(user.gid)) and user.gid != _gid_of_entry(accounts, user):
        found["/etc/group"] = _appended(group, [f"{user.gid}:x:{user.gid}:{values['USERNAME']}"])
    return found


def append_in(root: RootDirectory, path: str, text: str) -> bool:
    """Change the file *path* in *root* to *text*, which begins with its content; return False for another kind of file.

    Raises OSError.
    """
    about = root.stat(path)
    if about is None or not stat.S_ISREG(about.st_mode):
        return False
    fd = root.open(path, os.O_WRONLY | os.O_NONBLOCK)
    with open(fd, "wb") as file:
        file.write(text.encode("utf-8", "surrogateescape"))
    return True


def as_added(user: User, accounts: Accounts, *, has_group: bool) -> User:
    """Return *user*, who has no account, with the group and home of the entry that is added for it.

    With *has_group*, the group is the one that was asked for.
    """
    if not accounts.adds:
        return user
    fields = _filled(accounts.passwd_entry, _values(user, user.home)).split(":")
    if fields[2] != str(user.uid):
        return user
    gid = None if has_group else _gid_of_entry(accounts, user)
    return user._replace(gid=user.gid if gid is None else gid, home=fields[5])


def _gid_of_entry(accounts: Accounts, user: User) -> int | None:
    """Return the group in the entry of --passwd-entry, which gets no entry itself; None without one."""
    if not accounts.passwd_entry:
        return None
    text = _filled(accounts.passwd_entry, _values(user, user.home)).split(":")[3]
    return int(text) if text.isascii() and text.isdigit() and int(text) <= LARGEST_ID else None


def _values(user: User, home: str) -> dict[str, str]:
    name = user.name or str(user.uid)
    ids = {"UID": str(user.uid), "GID": str(user.gid), "GROUPNAME": str(user.gid)}
    return {"USERNAME": name, "NAME": name, "HOME": home, **ids}


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
