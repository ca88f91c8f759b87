"""Platforms: the hosts that an image runs on, and the choice of an image for a host.

Spellings are normalised as in containerd (x86_64 is amd64, aarch64 is arm64, ...). An image for a lower variant of the
same architecture is suitable too; one for a lesser architecture (386 on amd64) is not.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from arstore.errors import InvalidReferenceError
from arstore.oci.document import Fields, shown
from arstore.pattern import pattern
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_FIELDS = ("os", "architecture", "variant", "os.version", "os.features")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"
_LONGEST = 64
_VARIANT = pattern(r"v([0-9]{1,4})(?:\.([0-9]{1,4}))?")

_SYSTEMS: Mapping[str, str] = {"macos": "darwin"}
_ARCHITECTURES: Mapping[str, tuple[str, str]] = {
    "i386": ("386", ""), "i486": ("386", ""), "i586": ("386", ""), "i686": ("386", ""),
    "x86_64": ("amd64", ""), "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""), "armv8l": ("arm", "v8"), "armv7l": ("arm", "v7"), "armv6l": ("arm", "v6"),
    "armv5tel": ("arm", "v5"), "armhf": ("arm", "v7"), "armel": ("arm", "v6"), "loongarch64": ("loong64", ""),
}  # fmt: skip
_KNOWN_SYSTEMS = frozenset({"linux", "windows", "darwin", "macos", "freebsd", "netbsd", "openbsd", "solaris", "wasip1"})
_KNOWN_ARCHITECTURES = frozenset(
    {"386", "amd64", "arm", "arm64", "loong64", "mips", "mipsle", "mips64", "mips64le", "ppc64", "ppc64le", "riscv64"}
    | {"s390x", "wasm", *_ARCHITECTURES}
)
# The level of an architecture without a variant.
_BASE_LEVELS: Mapping[str, tuple[int, int]] = {"amd64": (1, 0), "arm": (7, 0), "arm64": (8, 0)}
_BASE_SPELLINGS: Mapping[str, str] = {"amd64": "v1", "arm64": "v8"}
_UNSAID = (3, 0, 0)


class Platform(NamedTuple):
    """An operating system and an architecture, spelt as in the document or by the user; "" if missing."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    @classmethod
    def read(cls, fields: Fields) -> Platform:
        """Return the platform in a descriptor's `platform` object or at the top of an image config.

        Invalid details (`os.version`, `os.features`) are left out. Raises ManifestError for the other fields.
        """
        fields.refuse_variants(_FIELDS)
        version, features = fields.values.get("os.version"), fields.values.get("os.features")
        features = features if isinstance(features, list) else []
        return cls(
            os=fields.string("os"),
            architecture=fields.string("architecture"),
            variant=fields.string("variant"),
            os_version=version if isinstance(version, str) and "\0" not in version else "",
            os_features=tuple(one for one in features if isinstance(one, str) and "\0" not in one),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the members for this platform in a descriptor or a config."""
        members: dict[str, Any] = {"architecture": self.architecture, "os": self.os}
        if self.variant:
            members["variant"] = self.variant
        if self.os_version:
            members["os.version"] = self.os_version
        if self.os_features:
            members["os.features"] = list(self.os_features)
        return members

    @property
    def is_known(self) -> bool:
        """Whether both parts are given. Attestations have `unknown/unknown`."""
        return all(part.lower() not in {"", "unknown"} for part in (self.os, self.architecture))

    @property
    def is_denied(self) -> bool:
        """Whether the document explicitly has an unknown platform, as attestations do (`unknown/unknown`)."""
        return "unknown" in {self.os.lower(), self.architecture.lower()}

    def normalised(self) -> Platform:
        """Return the platform in canonical spelling; a variant that the architecture implies is left out."""
        system = _SYSTEMS.get(self.os.lower(), self.os.lower())
        given = self.architecture.lower()
        architecture, implied = _ARCHITECTURES.get(given, (given, ""))
        variant = self.variant.lower() or implied
        if variant[:1].isdigit():
            variant = f"v{variant}"
        level = _VARIANT.fullmatch(variant) if variant else None
        if level is not None and level[2] == "0":
            variant = f"v{level[1]}"
        if architecture == "arm" and not variant:
            variant = "v7"
        if variant == _BASE_SPELLINGS.get(architecture):
            variant = ""
        return Platform(system, architecture, variant, self.os_version, self.os_features)

    def __str__(self) -> str:
        parts = [self.os or "unknown", self.architecture or "unknown", self.variant]
        return "/".join(shown(part, 64) for part in parts if part)


def parse(text: str) -> Platform:
    """Read `OS/ARCHITECTURE[/VARIANT]`, or one of the first two (the host has the other), and normalise it.

    Raises InvalidReferenceError.
    """
    parts = text.split("/")
    if not 1 <= len(parts) <= 3 or not all(map(_is_component, parts)):
        raise InvalidReferenceError(shown(text), "not a platform", "write OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT")
    if len(parts) > 1:
        return Platform(parts[0], parts[1], "".join(parts[2:])).normalised()
    word = text.lower()
    here = host()
    if word in _KNOWN_SYSTEMS:
        return Platform(word, here.architecture, here.variant).normalised()
    if word in _KNOWN_ARCHITECTURES:
        return Platform(here.os, word).normalised()
    raise InvalidReferenceError(shown(text), "is neither a known operating system nor a known architecture")


def recorded(text: str) -> Platform:
    """Return the platform in an image's record, which is the config's as `str`; an invalid one suits no host."""
    try:
        return parse(text)
    except InvalidReferenceError:
        return Platform("unknown", "unknown")


def _is_component(text: str) -> bool:
    return 0 < len(text) <= _LONGEST and text[0] in _LETTERS and not text.strip(f"{_LETTERS}.-")


def host() -> Platform:
    """Return the platform of this host's kernel, normalised."""
    system, machine = os.uname().sysname, os.uname().machine.lower()
    if machine in {"mips", "mips64"} and sys.byteorder == "little":
        machine += "le"
    return Platform(system, machine).normalised()


def select(candidates: Sequence[Platform | None], wanted: Platform) -> list[int]:
    """Return the indexes of those *candidates* that run on *wanted*, best first, in given order among equals.

    The same variant comes before lower ones, and higher ones of these before lower. None, a candidate whose platform is
    not known, may be suitable and comes last: its config has to be read. `unknown/unknown` is never suitable. On Linux
    the version and features of the operating system are ignored.
    """
    target = wanted.normalised()
    ranked: list[tuple[tuple[int, int, int], int]] = []
    for position, candidate in enumerate(candidates):
        rank = _UNSAID if candidate is None else _rank(candidate, target)
        if rank is not None:
            ranked.append((rank, position))
    return [position for _, position in sorted(ranked)]


def _rank(candidate: Platform, target: Platform) -> tuple[int, int, int] | None:
    """Return the rank of *candidate* for *target*, lower is better; None if it is not suitable."""
    if not candidate.is_known:
        return None if candidate.os or candidate.architecture else _UNSAID
    have = candidate.normalised()
    if (have.os, have.architecture) != (target.os, target.architecture) or not _same_system(have, target):
        return None
    if have.variant == target.variant:
        return (0, 0, 0)
    level, ceiling = _level(have), _level(target)
    if level is None or ceiling is None:
        return None if have.variant else (2, 0, 0)
    return (1, -level[0], -level[1]) if _runs(target.architecture, level, ceiling) else None


def _same_system(have: Platform, target: Platform) -> bool:
    if have.os == "linux":
        return True
    version = not target.os_version or not have.os_version or have.os_version == target.os_version
    return version and (not target.os_features or set(have.os_features) <= set(target.os_features))


def _level(platform: Platform) -> tuple[int, int] | None:
    base = _BASE_LEVELS.get(platform.architecture)
    if base is None or not platform.variant:
        return base
    match = _VARIANT.fullmatch(platform.variant)
    return None if match is None else (int(match[1]), int(match[2] or 0))


def _runs(architecture: str, level: tuple[int, int], ceiling: tuple[int, int]) -> bool:
    # Arm's manual: v9.n contains v8.(n+5), and nothing later of v8.
    if architecture == "arm64" and level[0] == 8 and ceiling[0] == 9:
        return level[1] <= ceiling[1] + 5
    return level <= ceiling
