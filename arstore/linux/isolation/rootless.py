"""Root without root: a user namespace for an ordinary user, with as many ids as the host grants, or the reason why not.

Each reason is found by a look at this host: a setting, a missing program, a missing right. docs/rootless.md lists them.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from arstore.linux.isolation import user_namespace
from arstore.linux.isolation.user_namespace import MAPPERS, IdMaps, MapperError, maps_for
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_FIRST, _MANY = 100_000, 65_536
"""The first subordinate id that hosts grant, and how many a user gets; useradd(8) has the same defaults."""
_USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SETTINGS = (
    ("user.max_user_namespaces", "0"),
    ("kernel.unprivileged_userns_clone", "0"),
)
"""Settings that forbid user namespaces to ordinary users, with the value that forbids them."""
_APPARMOR = ("kernel.apparmor_restrict_unprivileged_userns", "1")


class RefusedError(OSError):
    """This host permits this process no user namespace; `why` says for which reason."""

    def __init__(self, why: str) -> None:
        super().__init__(errno.EPERM, why)
        self.why = why


class Ids(NamedTuple):
    """The ids that this user gets in a namespace, and *why* only the user's own one; "" if there are others."""

    maps: IdMaps
    programs: tuple[str, str] | None
    why: str = ""
    hint: str = ""


entered = False
"""Whether `enter` has put this process into a namespace."""
refused = ""
"""Why this process could not enter a namespace that it went on without; "" if it did not try, or has one."""


def available() -> Ids:
    """Return the ids that the host grants this user. Raises OSError."""
    uid, gid = os.geteuid(), os.getegid()
    own = maps_for(uid, gid, (), ())
    programs, why, hint = _mappers()
    if programs is None:
        return Ids(own, None, why, hint)
    from arstore.linux.isolation.subordinate import FILES, granted

    name = _name_of(uid)
    found = {kind: granted(kind, uid, name) for kind in FILES}
    for kind, ranges in found.items():
        if not ranges:
            why = f"{name or f'user {uid}'} has no subordinate ids in /etc/{FILES[kind]}"
            return Ids(own, None, why, _how_to_grant(name or str(uid)))
        if why := _clash({"uid": uid, "gid": gid}[kind], ranges):
            return Ids(own, None, f"/etc/{FILES[kind]}: {why}", _how_to_grant(name or str(uid)))
    return Ids(maps_for(uid, gid, found["uid"], found["gid"]), programs)


def enter() -> Ids:
    """Enter a user namespace and a mount namespace as root in them, in place; return the ids that exist there.

    Where subordinate ids cannot be used, the user's own id is the only one. The process must have one thread, and
    should have no file open yet. Raises RefusedError if this host permits no user namespace.
    """
    if why := forbidden():
        raise RefusedError(why)
    ids = available()
    keep_home()
    global entered
    try:
        user_namespace.enter(ids.maps, ids.programs)
    except MapperError as error:
        ids = _fall_back(ids, error)
    except OSError as error:
        raise RefusedError(_why(error)) from error
    entered = True
    return ids


def joined() -> Ids:
    """Return the ids of the namespace that this process has just joined, and note that it is in one. Raises OSError."""
    global entered
    entered = True
    return Ids(user_namespace.current(), None)


def keep_home() -> None:
    """Set HOME if it is missing: inside, the user database would give root's directory."""
    if not os.environ.get("HOME"):
        import pwd

        try:
            os.environ["HOME"] = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            os.environ["HOME"] = "/"


def forbidden(root: str = "/proc/sys") -> str:
    """Return why this process may not make a user namespace, as far as that shows without a trial; "" if it may."""
    for name, value in _SETTINGS:
        if _setting(name, root) == value:
            return f"sysctl {name} is {value}"
    name, value = _APPARMOR
    if _setting(name, root) == value and (why := trial()):
        return f"sysctl {name} is {value}: {why}" if name not in why else why
    return ""


def trial() -> str:
    """Make a user namespace with this user's id in a child process, and use it; return why that fails, or ""."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        said = b""
        try:
            user_namespace.enter(maps_for(os.geteuid(), os.getegid(), (), ()), None)
        except OSError as error:
            said = _why(error).encode()
        finally:
            os.write(writing, said)
            os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as file:
        why = file.read()
    os.waitpid(child, 0)
    return why


def _fall_back(ids: Ids, error: MapperError) -> Ids:
    """Map this user's own id, in a namespace whose maps were refused."""
    own = IdMaps(ids.maps.uids[:1], ids.maps.gids[:1])
    try:
        user_namespace.map_own_ids(own)
        user_namespace.keep_mounts_private()
    except OSError as again:
        why = f"{error.program} failed ({error.said}), and so did a map of one id: {_text(again)}"
        raise RefusedError(why) from again
    return Ids(user_namespace.current(), None, f"{error.program} failed: {error.said}")


def _how_to_grant(user: str) -> str:
    """Return how root grants *user* ids that no other user has."""
    from arstore.linux.isolation.subordinate import first_free

    first = first_free(_FIRST)
    return f"as root, add the line {user}:{first}:{_MANY} to /etc/subuid and /etc/subgid"


def _clash(own: int, ranges: Sequence[tuple[int, int]]) -> str:
    """Return which of the *ranges* (first, count) has the id *own*, or ""; the kernel maps no id twice."""
    first = next((first for first, count in ranges if first <= own < first + count), None)
    return "" if first is None else f"the range from {first} on contains this user's own id"


def _mappers() -> tuple[tuple[str, str] | None, str, str]:
    """Return the paths of newuidmap and newgidmap; or None, why they cannot be used, and a hint."""
    found = []
    for name in MAPPERS:
        path = _on_path(name)
        if not path:
            hint = "install newuidmap and newgidmap (package uidmap or shadow-utils)"
            return None, f"the program {name} is missing", hint
        why, hint = _powerless(path)
        if why:
            return None, f"{path} {why}", hint
        found.append(path)
    if _status_field(b"NoNewPrivs:") == b"1":
        why = f"this process may not gain privileges (no_new_privs), so {MAPPERS[0]} has none"
        return None, why, "start arstore outside of the service, container or tool that set this"
    return (found[0], found[1]), "", ""


def _on_path(name: str) -> str:
    places = os.environ.get("PATH", _USUAL_PATH).split(":")
    paths = (f"{place}/{name}" for place in places if os.path.isabs(place))
    return next((path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)), "")


def _powerless(path: str) -> tuple[str, str]:
    """Return why the program gets no privileges, and a hint; or "" twice."""
    status = os.stat(path)
    if not status.st_mode & stat.S_ISUID:
        try:
            os.getxattr(path, "security.capability")
        except OSError:
            hint = f"as root, reinstall its package (uidmap or shadow-utils), or `chmod u+s {path}`"
            return "is neither set-user-ID nor does it have file capabilities", hint
    if os.statvfs(path).f_flag & os.ST_NOSUID:
        return "is on a file system that is mounted with nosuid", "mount it without nosuid"
    return "", ""


def _why(error: OSError) -> str:
    """Return the reason for which the kernel refused a namespace."""
    for name, value in (*_SETTINGS, _APPARMOR):
        if _setting(name) == value:
            return f"sysctl {name} is {value}"
    checks: dict[int, Callable[[], str]] = {errno.EPERM: _why_not_permitted, errno.EACCES: _why_not_permitted}
    if error.errno in {errno.ENOSPC, errno.EUSERS}:
        most = _setting("user.max_user_namespaces") or "unknown"
        return f"sysctl user.max_user_namespaces permits no more ({most}), or they are nested too deeply"
    if error.errno == errno.EINVAL and not os.path.exists("/proc/self/ns/user"):
        return "this kernel has no user namespaces (CONFIG_USER_NS)"
    return checks.get(error.errno or 0, lambda: _text(error))()


def _why_not_permitted() -> str:
    from arstore.linux.mounting.mountinfo import read_mounts

    if not any(info.mount_point == "/" for info in read_mounts()):
        return "this process is in a chroot, and the kernel forbids it there"
    if _status_field(b"Seccomp:") == b"2":
        return "a filter (seccomp) around this process forbids it, as in a container"
    return "the kernel or a security module forbids it (operation not permitted)"


def _text(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _setting(name: str, root: str = "/proc/sys") -> str:
    """Return the value of a sysctl; "" if the kernel does not have it."""
    try:
        with open(f"{root}/{name.replace('.', '/')}", encoding="ascii") as file:
            return file.read().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _status_field(name: bytes) -> bytes:
    try:
        with open("/proc/self/status", "rb") as file:
            return next((line.split()[1] for line in file if line.startswith(name)), b"")
    except OSError:
        return b""


def _name_of(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""
