"""User namespaces of containers: `--uidmap`, `--gidmap`, `--subuidname` and `--subgidname`.

A range maps consecutive ids in the container to ids of the host (user_namespaces(7)). The ids on disk are those of the
container: its layers and its own files are seen through mounts that map them. Volumes are shown with the host's ids, as
in podman. Format: podman-run(1), subuid(5).
"""

from __future__ import annotations

import os
import re
from itertools import pairwise
from typing import TYPE_CHECKING

from arstore.errors import NotFoundError, PermissionDeniedError, UsageError
from arstore.linux.isolation.mapping import IdRange, host_id
from arstore.runtime.spec.sizes import refused

if TYPE_CHECKING:
    from collections.abc import Sequence

_RANGE = re.compile(r"([0-9]{1,10}):([0-9]{1,10})(?::([0-9]{1,10}))?")
_LARGEST = 2**32 - 2
_MOST_RANGES = 340
"""The kernel's limit (UID_GID_MAP_MAX_EXTENTS)."""
_FILE_LIMIT = 4 << 20


def parse_ranges(texts: Sequence[str]) -> tuple[IdRange, ...]:
    """Read `CONTAINER:HOST[:COUNT]`, also several, separated by commas. Raises UsageError."""
    found = []
    for text in (word for words in texts for word in words.split(",")):
        match = _RANGE.fullmatch(text)
        if match is None:
            raise refused(text, "not a range of ids", "write CONTAINER:HOST:COUNT, such as 0:100000:65536")
        found.append(IdRange(int(match[1]), int(match[2]), int(match[3] or 1)))
    return checked(found, ",".join(texts))


def checked(ranges: Sequence[IdRange], text: str) -> tuple[IdRange, ...]:
    """Return *ranges* if the kernel takes them; *text* names them in errors. Raises UsageError."""
    for one in ranges:
        if not one.size or max(one.inside, one.outside) + one.size - 1 > _LARGEST:
            raise refused(text, f"a range of ids is empty, or goes beyond {_LARGEST}")
    for side in (0, 1):
        ordered = sorted((one[side], one.size) for one in ranges)
        if any(first + count > second for (first, count), (second, _) in pairwise(ordered)):
            raise refused(text, "two ranges of ids overlap")
    if len(ranges) > _MOST_RANGES:
        raise refused(text, f"has more than {_MOST_RANGES} ranges")
    if not any(one.inside == 0 for one in ranges):
        raise refused(text, "does not map the container's root", "begin with 0:HOST:COUNT")
    return tuple(ranges)


def ranges_of(name: str, path: str) -> tuple[IdRange, ...]:
    """Return the ranges that *path*, /etc/subuid or /etc/subgid, has for the user *name*, from the container's 0 on.

    Raises NotFoundError if there are none, UsageError, PermissionDeniedError.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read(_FILE_LIMIT).splitlines()
    except FileNotFoundError:
        lines = []
    except PermissionError as error:
        raise PermissionDeniedError(path, "cannot be read") from error
    found: list[IdRange] = []
    for line in lines:
        fields = line.split(":")
        if len(fields) == 3 and fields[0] == name and all(one.isascii() and one.isdigit() for one in fields[1:]):
            inside = sum(one.size for one in found)
            found.append(IdRange(inside, int(fields[1]), int(fields[2])))
    if not found:
        raise NotFoundError(f"user {name!r}", f"{path} has no ids for this user")
    return checked(found, name)


def maps_of(uids: Sequence[str], gids: Sequence[str], uid_name: str, gid_name: str) -> tuple[tuple[IdRange, ...], ...]:
    """Return the ranges of users and of groups that the four options ask for; both are empty for none.

    One given alone counts for both. Raises UsageError, also for an ordinary user, and the errors of `ranges_of`.
    """
    if (uids or gids) and (uid_name or gid_name):
        raise UsageError("--uidmap", "excludes --subuidname and --subgidname")
    if not (uids or gids or uid_name or gid_name):
        return (), ()
    if os.geteuid() != 0:
        raise PermissionDeniedError("--uidmap", "only root can map ids")
    if uids or gids:
        return parse_ranges(uids or gids), parse_ranges(gids or uids)
    return ranges_of(uid_name or gid_name, "/etc/subuid"), ranges_of(gid_name or uid_name, "/etc/subgid")


def outside(ranges: Sequence[IdRange], number: int) -> int:
    """Return the host's id for the id *number* of the container; the same without *ranges*. Raises UsageError."""
    try:
        return host_id(ranges, number) if ranges else number
    except ValueError:
        raise refused(str(number), "this id of the container is not mapped to one of the host") from None
