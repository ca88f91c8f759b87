"""A volume: something from outside that a container sees at a place, and the syntax of `--volume`.

Its source is a host path, a named volume of the store, or an image (`--mount type=image`). Out of scope: `--mount`
(`mount_option`), and what is done with volumes before a container starts (`sources`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.errors import NotFoundError
from arstore.pattern import pattern
from arstore.runtime.spec.mounts.mount_point import clean_destination
from arstore.runtime.spec.sizes import refused, shown
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Literal

PROPAGATIONS = ("private", "rprivate", "slave", "rslave")
NAME_RULE = "a volume's name has letters, digits, `_`, `.` and `-`, and begins with a letter or digit"

_NAME = pattern(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}")
_EXCLUSIVE = (
    ("ro", "rw"),
    ("exec", "noexec"),
    ("suid", "nosuid"),
    ("dev", "nodev"),
    ("copy", "nocopy"),
    ("bind", "rbind"),
    PROPAGATIONS,
)
_KEPT = frozenset({"exec", "noexec", "suid", "nosuid", "dev", "nodev", "bind", *PROPAGATIONS})
_WITHOUT_EFFECT = frozenset({"z", "Z", "rbind"})
_TAKEN = frozenset({word for group in _EXCLUSIVE for word in group} | {"z", "Z", "U", "O"})
_SHARED = "mounts that a container makes must not appear on the host"
_REASONS = {
    "shared": _SHARED,
    "rshared": _SHARED,
    "idmap": "containers have no user namespace, so ids cannot be mapped",
    "upperdir": "the upper directory of O belongs to the container",
    "workdir": "the upper directory of O belongs to the container",
}


class Volume(NamedTuple):
    """Something mounted into a container at *destination*, its absolute path there.

    *source* is the absolute path on the host; "" for a named volume or an image before the container is launched, and
    for an anonymous volume.
    """

    source: str
    destination: str
    read_only: bool = False
    options: tuple[str, ...] = ()
    """More mount options, as in mount(8), which replace default ones."""
    kind: Literal["bind", "volume", "image"] = "bind"
    name: str = ""
    """The name of a volume of the store, or of an image; an anonymous volume has none."""
    chown: bool = False
    """Whether everything in it is given to the container's user before the start."""
    temporary: bool = False
    """Whether writes go to a directory of the container instead of the source."""
    copies: bool = True
    """Whether an empty named volume starts with a copy of what the image has at the place."""
    subpath: str = ""
    """The part of the source to mount, relative to it; "" for all of it."""

    @property
    def is_anonymous(self) -> bool:
        """Return whether it is a private directory of its container."""
        return self.kind == "volume" and not self.name


def check_volume_name(name: str, text: str = "") -> str:
    """Return *name* if a volume may have it. Raises UsageError, which names *text* if given."""
    if _NAME.fullmatch(name) is None:
        hint = f"write ./{name} for a path" if "/" in name else ""
        raise refused(text or name, f"not a volume: {NAME_RULE}", hint)
    return name


def parse_volume(text: str) -> Volume:
    """Read `[SRC:]DST[:OPTION,...]`.

    SRC is a host path if it begins with `/` or `.`, and is then made absolute; else it is the name of a volume. Without
    SRC, the volume is anonymous. SRC may contain colons, DST may not. Raises UsageError for invalid syntax, an unknown
    or refused OPTION, and a DST that is not absolute or is the root; NotFoundError if the path SRC does not exist.
    """
    source, destination, words = _parts(text)
    if "\0" in text:
        raise refused(text, "a path cannot contain NUL")
    if not source:
        return with_options(Volume("", clean_destination(destination, text), kind="volume"), words, text)
    place = clean_destination(destination, text)
    if source.startswith(("/", ".")):
        return with_options(Volume(existing_path(source), place), words, text)
    return with_options(Volume("", place, kind="volume", name=check_volume_name(source, text)), words, text)


def existing_path(source: str) -> str:
    """Return the host path *source* as an absolute path. Raises NotFoundError."""
    absolute = os.path.abspath(source)
    if not os.path.exists(absolute):
        raise NotFoundError(shown(absolute), "no such file or directory to mount as a volume")
    return absolute


def with_options(volume: Volume, words: Sequence[str], text: str) -> Volume:
    """Return *volume* with the option *words* of `--volume`; *text* names it in errors. Raises UsageError."""
    for word in words:
        if reason := _REASONS.get(word.partition("=")[0]):
            raise refused(text, f"{shown(word)} is not supported: {reason}")
        if word not in _TAKEN:
            hint = f"use one of {', '.join(sorted(_TAKEN))}"
            raise refused(text, f"not an option of a volume: {shown(word) or 'an empty word'}", hint)
    for group in _EXCLUSIVE:
        chosen = [word for word in dict.fromkeys(words) if word in group]
        if len(chosen) > 1:
            raise refused(text, f"{chosen[0]} and {chosen[1]} exclude each other")
    if "O" in words and (volume.is_anonymous or not {"O", "U", "ro"}.issuperset(words)):
        raise refused(text, "O needs a path or a named volume, and takes no option but U")
    return volume._replace(
        read_only=volume.read_only or "ro" in words,
        options=(*volume.options, *(word for word in dict.fromkeys(words) if word in _KEPT)),
        chown=volume.chown or "U" in words,
        temporary=volume.temporary or "O" in words,
        copies=volume.copies and "nocopy" not in words,
    )


def granting(volume: Volume) -> Volume:
    """Return the host path *volume* as `run` mounts it: set-user-ID programs and devices in it count, as in podman.

    Options that say otherwise are kept.
    """
    if volume.kind != "bind":
        return volume
    words = (word for word in ("suid", "dev") if f"no{word}" not in volume.options and word not in volume.options)
    return volume._replace(options=(*volume.options, *words))


def require_different(places: Iterable[str]) -> None:
    """Raise UsageError if two of the mount points *places* are the same."""
    seen = set()
    for place in places:
        if place in seen:
            raise refused(place, "two things are to be mounted there", "name each place in the container once")
        seen.add(place)


def _parts(text: str) -> tuple[str, str, list[str]]:
    source, colon, destination = text.rpartition(":")
    if not colon and destination.startswith("/"):
        return "", destination, []
    words: list[str] = []
    if not destination.startswith("/") and ":/" in source:
        words = destination.split(",")
        source, colon, destination = source.rpartition(":")
    if not colon or not source or not destination:
        raise refused(text, "not a volume", "write SRC:DST or SRC:DST:ro")
    return source, destination, words
