"""File systems in memory for a container: `--tmpfs`, `--mount type=tmpfs|ramfs|devpts`, and those of `--read-only`.

Format: OCI runtime-spec config.md, "Mounts"; the syntax is docker's and podman's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.pattern import pattern
from arstore.runtime.spec.mounts.mount_point import clean_destination
from arstore.runtime.spec.sizes import refused
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from arstore.runtime.spec.defaults import Json

WRITABLE = ("/run", "/tmp", "/var/tmp")  # places in a container
"""Where a container with a read-only root file system can write all the same."""

_USUAL = ("rw", "nosuid", "nodev", "tmpcopyup")
_TMPFS_OPTION = pattern(
    r"U|ro|rw|(?:no)?exec|(?:no)?suid|(?:no)?dev|(?:no|rel|strict)?atime|(?:no)?tmpcopyup"
    r"|(?:size|nr_blocks|nr_inodes)=[0-9]{1,19}[kKmMgG%]?|mode=[0-7]{1,4}|[ug]id=[0-9]{1,10}|huge=[a-z_]{1,16}"
)
_DEVPTS_OPTION = pattern(r"mode=[0-7]{1,4}|[ug]id=[0-9]{1,10}|max=[0-9]{1,10}|ptmxmode=[0-7]{1,4}|newinstance")
_RAMFS_OPTION = pattern(r"ro|rw|(?:no)?exec|(?:no)?suid|(?:no)?dev|mode=[0-7]{1,4}")
_GRAMMARS = {"tmpfs": _TMPFS_OPTION, "ramfs": _RAMFS_OPTION, "devpts": _DEVPTS_OPTION}


class Tmpfs(NamedTuple):
    """A separate file system in a container, and its mount options; *kind* is tmpfs, ramfs or devpts."""

    destination: str
    options: tuple[str, ...]
    kind: str = "tmpfs"


def parse_tmpfs(text: str) -> Tmpfs:
    """Read `PLACE[:OPTION,...]`. Raises UsageError.

    As in podman, it is writable, nosuid and nodev by default, and starts with a copy of what the image has there.
    """
    place, _, options = text.partition(":")
    words = [word for word in options.split(",") if word]
    return memory_filesystem("tmpfs", place, words, text)


def memory_filesystem(kind: str, place: str, words: Sequence[str], text: str) -> Tmpfs:
    """Return the file system with the options *words*; *text* names it in errors. Raises UsageError."""
    for word in words:
        if _GRAMMARS[kind].fullmatch(word) is None:
            raise refused(text, f"not an option of a {kind}: {word}", _hint(kind))
    usual = _USUAL if kind == "tmpfs" else ()
    defaults = [word for word in usual if not _contradicted(word, words)]
    # No runtime knows the word that switches the copy off.
    return Tmpfs(clean_destination(place, text), (*defaults, *(w for w in words if w != "notmpcopyup")), kind)


def writable_places(taken: Iterable[str]) -> list[Tmpfs]:
    """Return the file systems of a container whose root is read-only, without those at places *taken*."""
    covered = frozenset(taken)
    return [memory_volume(place) for place in WRITABLE if place not in covered]


def memory_volume(place: str) -> Tmpfs:
    """Return a file system in memory that starts with a copy of what the image has at *place*."""
    return Tmpfs(place, _USUAL)


def owned(tmpfs: Tmpfs, uid: int, gid: int) -> Tmpfs:
    """Return *tmpfs* with the owner *uid* and *gid* if its options have `U`, which no runtime knows."""
    if "U" not in tmpfs.options:
        return tmpfs
    return tmpfs._replace(options=(*(word for word in tmpfs.options if word != "U"), f"uid={uid}", f"gid={gid}"))


def mount_of(tmpfs: Tmpfs) -> Json:
    """Return the entry of `mounts`."""
    return {
        "destination": tmpfs.destination,
        "type": tmpfs.kind,
        "source": tmpfs.kind,
        "options": list(tmpfs.options),
    }


def _contradicted(word: str, words: Sequence[str]) -> bool:
    opposite = {"rw": "ro", "tmpcopyup": "notmpcopyup"}.get(word, word.removeprefix("no"))
    return word in words or opposite in words


def _hint(kind: str) -> str:
    return "write PLACE[:size=64m,mode=1777,...]" if kind == "tmpfs" else ""
