"""Subordinate ids: the user and group ids that the host grants an ordinary user, subuid(5).

They are listed by /etc/subuid and /etc/subgid, or by the service that /etc/nsswitch.conf names for `subid`, which
getsubids(1) asks. A user may have several ranges, under the name and under the number.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FILES = {"uid": "subuid", "gid": "subgid"}
"""The file in /etc for each kind of id."""
_SERVICE = "subid"
_LARGEST = (1 << 32) - 2


def granted(kind: str, uid: int, name: str, etc: str = "/etc") -> list[tuple[int, int]]:
    """Return the ranges (first, count) of ids of *kind* (uid, gid) that user *uid* called *name* is granted."""
    if _asks_service(f"{etc}/nsswitch.conf"):
        found = _from_service(kind, name)
        if found is not None:
            return found
    try:
        with open(f"{etc}/{FILES[kind]}", encoding="utf-8", errors="surrogateescape") as file:
            return _distinct(_rows(file, {name, str(uid)}))
    except OSError:
        return []


def first_free(least: int, etc: str = "/etc") -> int:
    """Return the first id from *least* on behind all ids that are granted to users."""
    for name in FILES.values():
        try:
            with open(f"{etc}/{name}", encoding="utf-8", errors="surrogateescape") as file:
                for line in file:
                    fields = line.strip().split(":")
                    for first, count in _range(*fields[1:]) if len(fields) == 3 else ():
                        least = max(least, first + count)
        except OSError:
            continue
    return least


def _rows(lines: Iterable[str], owners: set[str]) -> Iterator[tuple[int, int]]:
    for line in lines:
        fields = line.strip().split(":")
        if len(fields) == 3 and fields[0] in owners:
            yield from _range(fields[1], fields[2])


def _range(first: str, count: str) -> Iterator[tuple[int, int]]:
    if first.isascii() and first.isdigit() and count.isascii() and count.isdigit() and int(count):
        start, length = int(first), int(count)
        if start + length - 1 <= _LARGEST:
            yield start, length


def _distinct(found: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the ranges without those that overlap an earlier one: the kernel would refuse the map."""
    kept: list[tuple[int, int]] = []
    for start, count in found:
        if all(start + count <= first or first + length <= start for first, length in kept):
            kept.append((start, count))
    return kept


def _asks_service(path: str) -> bool:
    """Return whether *path* (nsswitch.conf) names another source of subordinate ids than the files."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                key, _, value = line.partition("#")[0].partition(":")
                if key.strip() == _SERVICE:
                    return value.split()[:1] not in ([], ["files"])
    except OSError:
        pass
    return False


def _from_service(kind: str, name: str) -> list[tuple[int, int]] | None:
    """Ask getsubids(1); None if it does not exist or fails."""
    import subprocess

    words = ["getsubids", *(["-g"] if kind == "gid" else []), name]
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=10, check=False, env={**os.environ, "LC_ALL": "C"}
        )
    except (OSError, subprocess.SubprocessError):
        return None
    if done.returncode:
        return None
    # A line is `0: NAME FIRST COUNT`.
    rows = (line.split() for line in done.stdout.splitlines())
    return _distinct(pair for fields in rows if len(fields) == 4 for pair in _range(fields[2], fields[3]))
