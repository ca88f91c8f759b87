"""Reading a configuration file that only root or this user can have written.

A configuration names the programs that are run and the directories that are written, so a file that another user can
write must not steer this one. The rule is ssh's (ssh_config(5), "FILES"): it belongs to root or to this user, and only
its owner may write to it. Root accepts root's files alone.
"""

from __future__ import annotations

import errno
import os
import stat

from arstore.errors import ConfigFileError, reason

LARGEST = 1 << 20
"""Bytes of a configuration file, at most."""

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_EVERY_USER = "0 0 4294967295"
"""The map of a user namespace in which every user of the host exists."""


def look(path: str, system: str = "") -> os.stat_result:
    """Return the status of the file *path*, following symlinks, after a look at its owner and mode.

    The place *system* is the host's own: in a user namespace without the host's root, an owner who is not mapped is
    accepted there. Raises ConfigFileError.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        raise ConfigFileError(path, _why(error)) from error
    require_trusted(path, status, is_system=path == system)
    return status


def require_trusted(path: str, status: os.stat_result, *, is_system: bool = False) -> None:
    """Raise ConfigFileError unless *path* is a regular file that only root or this user can have written."""
    if not stat.S_ISREG(status.st_mode):
        raise ConfigFileError(path, "is a directory" if stat.S_ISDIR(status.st_mode) else "is not a regular file")
    uid = os.geteuid()
    if status.st_uid not in {0, uid} and not (is_system and _is_unmapped(status.st_uid)):
        from arstore.disk.access import name_of_user

        who = "root reads only files of root" if uid == 0 else "only files of this user and of root are read"
        why = f"belongs to {name_of_user(status.st_uid)}, and {who}"
        raise ConfigFileError(path, why, "change its owner, or name another file with --config")
    if status.st_mode & _WRITABLE_BY_OTHERS:
        raise ConfigFileError(path, "can be written to by users other than its owner", f"run `chmod go-w {path}`")


def read(path: str, system: str = "") -> tuple[bytes, os.stat_result]:
    """Return the content of *path* and the status that it had before and after. Raises ConfigFileError."""
    try:
        # O_NONBLOCK: a FIFO is refused instead of waited for.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        raise ConfigFileError(path, _why(error)) from error
    try:
        status = os.fstat(fd)
        require_trusted(path, status, is_system=path == system)
        with open(fd, "rb", closefd=False) as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise ConfigFileError(path, f"has more than {LARGEST >> 20} MiB")
        return data, status
    except OSError as error:
        raise ConfigFileError(path, _why(error)) from error
    finally:
        os.close(fd)


def toml(path: str, data: bytes) -> dict[str, object]:
    """Parse *data*, the content of *path*. Raises ConfigFileError, with the line of a syntax error."""
    import tomllib

    try:
        return tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigFileError(path, f"is not UTF-8 (line {line})") from error
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else _one_line(str(error), data)
        raise ConfigFileError(path, f"is not TOML: {why}") from error


def unknown_key(path: str, key: str, known: tuple[str, ...], where: str = "") -> ConfigFileError:
    """Return the error for a *key* that is not among those *known* in the table *where*."""
    from difflib import get_close_matches

    near = get_close_matches(key, known, 1)
    hint = f"did you mean {where}{near[0]}?" if near else f"known keys are {', '.join(known)}"
    return ConfigFileError(path, f"unknown key {quoted(where + key)}", hint)


def quoted(text: str) -> str:
    """Return a key or value of the file for an error: quoted, on one line, and not longer than a few words."""
    return repr(text if len(text) <= 80 else f"{text[:77]}...")


def _is_unmapped(uid: int) -> bool:
    """Whether *uid* is the number by which the kernel shows users that this user namespace does not have."""
    try:
        with open("/proc/sys/kernel/overflowuid", encoding="ascii") as file:
            overflow = int(file.read())
        with open("/proc/self/uid_map", encoding="ascii") as file:
            return uid == overflow and " ".join(file.read().split()) != _EVERY_USER
    except (OSError, ValueError):
        return False


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, ValueError):
        return "is not a path"
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return "does not exist"
    return f"cannot be read: {reason(error)}"


def _one_line(text: str, data: bytes) -> str:
    end = f"at the end, line {len(data.splitlines())}"
    return text[:1].lower() + " ".join(text[1:].split()).replace("at end of document", end)
