"""`--ulimit` and `--tmpfs`: resource limits of a container's processes, and file systems in memory.

Formats: OCI runtime-spec config.md, "POSIX Process" (rlimits) and "Mounts"; the syntax is docker's and podman's.
"""

from __future__ import annotations

import re
import resource
from typing import TYPE_CHECKING

from arstore.errors import UsageError
from arstore.runtime.spec.mount_point import clean_destination
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.runtime.spec.defaults import Json

_KINDS = frozenset(
    name.removeprefix("RLIMIT_").lower()
    for name in dir(resource)
    if name.startswith("RLIMIT_") and name != "RLIMIT_OFILE"
)
_UNLIMITED = 2**64 - 1
"""RLIM_INFINITY in config.json."""
_NUMBER = re.compile(r"-1|unlimited|[0-9]{1,19}")
_TMPFS_OPTION = re.compile(
    r"ro|rw|(?:no)?exec|(?:no)?suid|(?:no)?dev|(?:no|rel|strict)?atime|tmpcopyup"
    r"|(?:size|nr_blocks|nr_inodes)=[0-9]{1,19}[kKmMgG%]?|mode=[0-7]{1,4}|[ug]id=[0-9]{1,10}|huge=[a-z_]{1,16}"
)


class Ulimit(NamedTuple):
    """A limit of setrlimit(2): *kind* as in RLIMIT_, in lower case; *soft* and *hard*, both unsigned."""

    kind: str
    soft: int
    hard: int


class Tmpfs(NamedTuple):
    """A file system in memory, and its mount options."""

    destination: str
    options: tuple[str, ...]


def parse_ulimit(text: str) -> Ulimit:
    """Read `KIND=SOFT[:HARD]`, each a number, or -1 for no limit. Raises UsageError."""
    kind, _, values = text.partition("=")
    soft, colon, hard = values.partition(":")
    kind = kind.strip().lower().removeprefix("rlimit_")
    hard = hard if colon else soft
    if kind not in _KINDS or _NUMBER.fullmatch(soft) is None or _NUMBER.fullmatch(hard) is None:
        raise _refused(text, "not a limit", f"write KIND=SOFT[:HARD], KIND one of {', '.join(sorted(_KINDS))}")
    limit = Ulimit(kind, _number(soft), _number(hard))
    if limit.soft > limit.hard:
        raise _refused(text, "the soft limit is above the hard one")
    return limit


def rlimits(limits: Sequence[Ulimit], most_files: int) -> list[Json]:
    """Return the `process.rlimits` of config.json; *most_files* is the limit of open files unless *limits* has one.

    Raises UsageError for a limit that this process may not set.
    """
    found = {"nofile": Ulimit("nofile", most_files, most_files)}
    for limit in limits:
        found[limit.kind] = limit
        _, own = resource.getrlimit(getattr(resource, f"RLIMIT_{limit.kind.upper()}"))
        if own != resource.RLIM_INFINITY and limit.hard > own and not _may_raise():
            text = f"{limit.kind}={_shown_number(limit.soft)}:{_shown_number(limit.hard)}"
            raise _refused(text, f"this process may set at most {own}")
    return [{"type": f"RLIMIT_{one.kind.upper()}", "hard": one.hard, "soft": one.soft} for one in found.values()]


def parse_tmpfs(text: str) -> Tmpfs:
    """Read `PLACE[:OPTION,...]`. Raises UsageError.

    The defaults are writable, noexec, nosuid and nodev, as in podman.
    """
    place, _, options = text.partition(":")
    words = [word for word in options.split(",") if word]
    for word in words:
        if _TMPFS_OPTION.fullmatch(word) is None:
            raise _refused(text, f"not an option of a tmpfs: {word}", "write PLACE[:size=64m,mode=1777,...]")
    usual = [word for word in ("rw", "noexec", "nosuid", "nodev") if not _contradicted(word, words)]
    return Tmpfs(clean_destination(place, text), (*usual, *words))


def _contradicted(word: str, words: Sequence[str]) -> bool:
    return word in words or ("ro" if word == "rw" else word.removeprefix("no")) in words


def _number(text: str) -> int:
    return _UNLIMITED if text in {"-1", "unlimited"} else min(int(text), _UNLIMITED)


def _shown_number(number: int) -> str:
    return "unlimited" if number == _UNLIMITED else str(number)


def _may_raise() -> bool:
    from arstore.linux.isolation import capability

    return capability.has(capability.CAP_SYS_RESOURCE)


def _refused(text: str, why: str, hint: str = "") -> UsageError:
    from arstore.oci.document import shown

    return UsageError(shown(text), why, hint)
