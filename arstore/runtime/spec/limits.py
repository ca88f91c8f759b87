"""`--ulimit`: resource limits of a container's processes.

Format: OCI runtime-spec config.md, "POSIX Process" (rlimits); the syntax is docker's and podman's.
"""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

from arstore.errors import RuntimeFailedError
from arstore.pattern import pattern
from arstore.runtime.spec.sizes import refused as _refused
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from arstore.runtime.spec.defaults import Json

_KINDS = frozenset(
    name.removeprefix("RLIMIT_").lower()
    for name in dir(resource)
    if name.startswith("RLIMIT_") and name != "RLIMIT_OFILE"
)
_UNLIMITED = 2**64 - 1
"""RLIM_INFINITY in config.json."""
_NUMBER = pattern(r"-1|unlimited|[0-9]{1,19}")


class Ulimit(NamedTuple):
    """A limit of setrlimit(2): *kind* as in RLIMIT_, in lower case; *soft* and *hard*, both unsigned."""

    kind: str
    soft: int
    hard: int


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


def parse_ulimits(texts: Iterable[str]) -> tuple[Ulimit, ...]:
    """Return the limits of `--ulimit`; `host` stands for all those of this process, and later words win.

    Raises UsageError.
    """
    found: list[Ulimit] = []
    for text in texts:
        found += _own_limits() if text == "host" else [parse_ulimit(text)]
    return tuple(found)


def _own_limits() -> Iterator[Ulimit]:
    for kind in sorted(_KINDS):
        soft, hard = resource.getrlimit(getattr(resource, f"RLIMIT_{kind.upper()}"))
        yield Ulimit(kind, *(_UNLIMITED if one == resource.RLIM_INFINITY else one for one in (soft, hard)))


def rlimits(limits: Sequence[Ulimit], most_files: int) -> list[Json]:
    """Return the `process.rlimits` of config.json; *most_files* is the limit of open files unless *limits* has one.

    Raises RuntimeFailedError for a limit that this process may not set, and so no runtime either.
    """
    found = {"nofile": Ulimit("nofile", most_files, most_files)}
    for limit in limits:
        found[limit.kind] = limit
        _, own = resource.getrlimit(getattr(resource, f"RLIMIT_{limit.kind.upper()}"))
        if own != resource.RLIM_INFINITY and limit.hard > own and not may_raise_limits():
            text = f"{limit.kind}={_shown_number(limit.soft)}:{_shown_number(limit.hard)}"
            raise RuntimeFailedError(text, f"this process may set at most {own}")
    return [{"type": f"RLIMIT_{one.kind.upper()}", "hard": one.hard, "soft": one.soft} for one in found.values()]


def _number(text: str) -> int:
    return _UNLIMITED if text in {"-1", "unlimited"} else min(int(text), _UNLIMITED)


def _shown_number(number: int) -> str:
    return "unlimited" if number == _UNLIMITED else str(number)


def may_raise_limits() -> bool:
    """Whether this process may raise limits above its own, and have the kernel spare a process when memory runs out."""
    from arstore.linux.isolation import capability, user_namespace

    # The kernel asks for the right in the first user namespace.
    return user_namespace.is_initial() and capability.has(capability.CAP_SYS_RESOURCE)
