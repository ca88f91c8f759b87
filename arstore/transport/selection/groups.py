"""Group the entries of a source by the names that they bring, and make the errors for ambiguous names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import AmbiguousError, ManifestError

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from arstore.oci.descriptor import Descriptor, Flawed
    from arstore.oci.platform import Platform
    from arstore.transport.source import SourceImage

_HINT = "import one of {} as TRANSPORT:PATH@DIGEST"


def grouped(entries: Sequence[SourceImage]) -> list[tuple[list[SourceImage], list[str]]]:
    """The entries by name, in their order: entries that share a name together, and names of the same entries together.

    An entry without a name is a group by itself.
    """
    by_name: dict[str, list[int]] = {}
    groups: dict[tuple[int, ...], list[str]] = {}
    for place, image in enumerate(entries):
        for name in image.names:
            by_name.setdefault(name, []).append(place)
        if not image.names:
            groups[(place,)] = []
    for name, places in by_name.items():
        groups.setdefault(tuple(places), []).append(name)
    return [([entries[place] for place in places], names) for places, names in sorted(groups.items())]


def entry_key(entry: Descriptor | Flawed) -> Hashable:
    """Key that entries for the same image share; a malformed entry never shares it with a valid one."""
    return type(entry), entry.digest, entry.media_type, entry.platform


def ambiguous(what: str, name: str, platform: Platform | None, digests: Sequence[str]) -> AmbiguousError:
    """The error for a *name* that has these images for one platform."""
    why = f"has {len(digests)} images for {platform} with the name {name}: {' and '.join(digests[:2])}"
    return AmbiguousError(what, why, _HINT.format("them"))


def uncertain(flawed: Flawed, name: str) -> ManifestError:
    """The error for a *name* that may mean a malformed entry."""
    why = f"{flawed.error.why}; the name {name} may mean this entry or another"
    return ManifestError(flawed.error.what, why, _HINT.format("the others"))
