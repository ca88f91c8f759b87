"""USER of an image, or of `--user`, as numbers: looked up in the container's own /etc/passwd and /etc/group.

Grammar: `[user][:group]`, each a name or a number; an empty user is root (0). A name is preferred to a number, as in
docker: a line `1000:x:5:…` in passwd defines a user name. Malformed lines are skipped, as libc does. Out of scope: NSS.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from arstore.errors import IdentityError, ImageConfigError
from arstore.linux.isolation import user_namespace
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from arstore.runtime.spec.image_files import RootDirectory

LARGEST_ID = 2**31 - 1
"""The kernel accepts larger ids, but the usual runtimes refuse them."""

FILE_LIMIT = 4 << 20
"""Maximum size in bytes of /etc/passwd or /etc/group; a larger file is refused."""

_LINE_LIMIT = 64 << 10
_MOST_GROUPS = 65536
_LONGEST_NAME = 64


class User(NamedTuple):
    """The identity of the container's process. *name* and *home* are empty if /etc/passwd does not have the id."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    name: str = ""
    home: str = ""


class _Account(NamedTuple):
    name: str
    uid: int
    gid: int
    home: str


def resolve_user(text: str, root: RootDirectory) -> User:
    """Return the user that *text* names in *root*; with a colon, it has no supplementary groups.

    Raises IdentityError for an unknown name and for an id out of range; ImageConfigError for an /etc/passwd that is not
    a regular file or too large.
    """
    user_text, colon, group_text = text.partition(":")
    if ":" in group_text or (colon and not user_text and not group_text):
        raise ImageConfigError(f"user {text!r}", "not of the form USER, USER:GROUP or :GROUP")
    account = _find_account(user_text or "0", text, root)
    if group_text:
        return User(account.uid, _find_group(group_text, text, root), (), account.name, account.home)
    if colon:
        # As in podman: who writes `USER:` asks for no further groups.
        return User(account.uid, account.gid, (), account.name, account.home)
    return User(account.uid, account.gid, _groups_of(account, root), account.name, account.home)


def require_mapped(user: User, added: Sequence[int] = ()) -> User:
    """Return *user* with the groups *added*, as this process's user namespace can have it.

    In a namespace with a single id no process has supplementary groups: those of /etc/group are left out. Raises
    IdentityError for an id that does not exist in the namespace.
    """
    if not user_namespace.is_initial():
        maps = user_namespace.current()
        if maps.is_single:
            user = user._replace(groups=())
        missing = [] if maps.has_uid(user.uid) else [f"user {user.uid}"]
        missing += [f"group {gid}" for gid in (user.gid, *user.groups, *added) if not maps.has_gid(gid)]
        if missing:
            count = sum(one.length for one in maps.uids)
            why = f"this user's containers have {count} {'id' if count == 1 else 'ids'}, and this one is not among them"
            raise IdentityError(missing[0], why, "docs/rootless.md shows how root grants more of them")
    return user._replace(groups=(*user.groups, *added)) if added else user


def require_plain_files(root: RootDirectory) -> None:
    """Check that /etc/passwd and /etc/group in *root* are regular files, if they exist.

    runc opens both in the container before it starts any process: a FIFO there would never let it go on.
    Raises ImageConfigError, OSError.
    """
    for path in ("/etc/passwd", "/etc/group"):
        about = root.stat(path)
        if about is not None and not stat.S_ISREG(about.st_mode):
            raise ImageConfigError(path, "is not a regular file in the container's root file system")


def added_groups(texts: Iterable[str], root: RootDirectory) -> tuple[int, ...]:
    """Return the groups with the names or numbers *texts* in *root*. Raises IdentityError for an unknown name."""
    return tuple(dict.fromkeys(_find_group(text, text, root, "group") for text in texts))


def user_names(root: RootDirectory) -> dict[int, str]:
    """Return the names of the users in *root*, by id; the first line of an id counts, and long names are cut.

    Raises ImageConfigError, OSError.
    """
    found: dict[int, str] = {}
    for account in _accounts(root):
        found.setdefault(account.uid, account.name[:_LONGEST_NAME])
    return found


def group_names(root: RootDirectory) -> dict[int, str]:
    """Return the names of the groups in *root*, as `user_names`. Raises ImageConfigError, OSError."""
    found: dict[int, str] = {}
    for name, gid, _ in _groups(root):
        found.setdefault(gid, name[:_LONGEST_NAME])
    return found


def _find_account(wanted: str, text: str, root: RootDirectory) -> _Account:
    number = _number(wanted, text)
    by_number: _Account | None = None
    for account in _accounts(root):
        if account.name == wanted:
            return account
        if by_number is None and account.uid == number:
            by_number = account
    if by_number is not None:
        return by_number
    if number is None:
        raise IdentityError(f"user {text!r}", f"the container's /etc/passwd has no user {wanted!r}")
    return _Account("", number, 0, "")


def _find_group(wanted: str, text: str, root: RootDirectory, noun: str = "user") -> int:
    for name, gid, _ in _groups(root):
        if name == wanted:
            return gid
    number = _number(wanted, text, noun)
    if number is None:
        raise IdentityError(f"{noun} {text!r}", f"the container's /etc/group has no group {wanted!r}")
    return number


def _groups_of(account: _Account, root: RootDirectory) -> tuple[int, ...]:
    """Return the supplementary groups, sorted, without the primary one."""
    if not account.name:
        return ()
    found = {gid for _, gid, members in _groups(root) if account.name in members}
    found.discard(account.gid)
    if len(found) > _MOST_GROUPS:
        raise ImageConfigError(f"user {account.name!r}", f"is in more than {_MOST_GROUPS} groups")
    return tuple(sorted(found))


def _accounts(root: RootDirectory) -> Iterator[_Account]:
    for fields in _lines(root, "/etc/passwd"):
        if len(fields) < 6:
            continue
        uid, gid = _id(fields[2]), _id(fields[3])
        if uid is not None and gid is not None:
            yield _Account(fields[0], uid, gid, fields[5])


def _groups(root: RootDirectory) -> Iterator[tuple[str, int, list[str]]]:
    for fields in _lines(root, "/etc/group"):
        gid = _id(fields[2]) if len(fields) >= 3 else None
        if gid is not None:
            yield fields[0], gid, fields[3].split(",") if len(fields) > 3 else []


def _lines(root: RootDirectory, path: str) -> Iterator[list[str]]:
    data = root.read(path, FILE_LIMIT) or b""
    for line in data.split(b"\n"):
        if not line or line.startswith(b"#") or len(line) > _LINE_LIMIT or b"\0" in line:
            continue
        # Lines that are not UTF-8 cannot match a name in a config, which is JSON.
        fields = line.decode("utf-8", "replace").split(":")
        if fields[0]:
            yield fields


def _id(field: str) -> int | None:
    if not field.isascii() or not field.isdigit() or len(field) > 10:
        return None
    number = int(field)
    return number if number <= LARGEST_ID else None


def _number(wanted: str, text: str, noun: str = "user") -> int | None:
    """Return *wanted* as an id; None if it is a name."""
    digits = wanted.removeprefix("-").removeprefix("+")
    if not digits.isascii() or not digits.isdigit():
        return None
    number = _id(wanted)
    if number is None:
        raise IdentityError(f"{noun} {text!r}", f"an id must be a number from 0 to {LARGEST_ID}")
    return number
