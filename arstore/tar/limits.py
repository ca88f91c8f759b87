"""Limits on what one archive may ask of the host, so that memory, names and disk stay bounded whatever it contains.

The defaults are far from what real images have; `--limit NAME=VALUE` changes them by the names of the fields, with `-`
for `_`. Limits hold at the border, for what comes in; what a store has accepted is read with `ACCEPTED`. Not in scope:
what applies them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arstore.errors import LimitError, UsageError
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_DIGITS_MAX = 18
_MAY_BE_NOTHING = frozenset({"reserve", "inodes", "steps-per-byte"})


class Limits(NamedTuple):
    """The most that is accepted; anything over is a LimitError. Sizes are bytes."""

    headers: int = 10_000_000
    """Headers of one archive, those of extensions included."""
    path: int = 4096
    """A normalised path, and a link's target: the kernel's PATH_MAX."""
    depth: int = 1024
    """Components of a path."""
    pax: int = 1 << 20
    """All records of one extended header; also all global records that hold at a time."""
    long_name: int = 1 << 16
    """A GNU long name or long link."""
    xattr_value: int = 1 << 20
    """One extended attribute's value. The kernel takes 64 KiB: a tree leaves out a larger one, and counts it."""
    xattrs: int = 1 << 20
    """Names and values of all extended attributes of one member."""
    sparse_runs: int = 1 << 16
    """Runs of data in one sparse file."""
    inflated: int = 1 << 40
    """A layer, or a whole archive, when its compression is undone."""
    ratio: int = 200
    """Bytes that a compressed one may give; counted from `ratio_from` on."""
    ratio_from: int = 1 << 30
    """Bytes that a layer or an archive may inflate to whatever the ratio."""

    index_memory: int = 160 << 20
    """What is kept in memory of the entries of layers that are indexed at a time; a layer with more is refused."""
    memory: int = 96 << 20
    """What is kept in memory of the directories, links and attributes of layers whose files are extracted at a time."""
    steps: int = 50_000_000
    """Work that a source may ask for whatever its size, in steps (`tar.steps`); also of one outer archive."""
    steps_per_byte: int = 8
    """Steps that a source may ask for besides, for each byte of its layers as they come."""
    inodes: int | None = None
    """Inodes that are left free of the store's file system, 0 for nothing; None: a twentieth (`disk.free_space`)."""

    members: int = 100_000
    """Members of an outer archive, which are all kept in a table: one of images needs a handful a layer."""
    member_names: int = 16 << 20
    """Bytes of the names and links in that table."""
    trailing: int = 64 << 20
    """Bytes behind the end mark of an outer archive in a stream: tapes are padded, and a device is endless."""
    documents: int = 128 << 20
    """Manifests, configs and indexes of one source, which are held in memory until their images are published."""
    parsed: int = 8 << 20
    """Bytes of a source's documents that are parsed, where a value counts as 16; and 8 for each byte of the source."""
    visits: int = 100_000
    """Entries of its lists that are gone through, as often as they are; and one for each 16 bytes of the source."""
    references: int = 50_000
    """Layers that all images of one source name; and one for each 200 bytes of the source."""
    images: int = 20_000
    """Images that one source may bring, and that are wanted of one of its indexes."""
    document: int = 4 << 20
    """Bytes of a manifest, a config, an index, or a docker-archive's `manifest.json`."""
    listing: int = 16 << 20
    """Bytes of the `index.json` of a layout: a backup of 20,000 images with two long names each has as many."""
    json_depth: int = 64
    """Levels of lists and objects in one of them."""
    layers: int = 10_000
    """Layers of a manifest; diff IDs of a config; a quarter of the entries of its history."""
    manifests: int = 50_000
    """Entries of an index, of `index.json` too."""
    index_depth: int = 4
    """Indexes within indexes that are followed."""
    extracts_large: bool = False
    """Whether a layer with more than `index_memory` holds is extracted, and not refused."""
    strict_xattrs: bool = False
    """Whether an extended attribute that a tree cannot have is an error; it is left out and counted otherwise."""
    reserve: int | None = None
    """What is left free of the store's file system, 0 for nothing; None: by its size (`disk.free_space`)."""

    def check_inflated(self, produced: int, consumed: int, what: str) -> None:
        """Refuse a bomb, while it inflates: *produced* bytes from *consumed*. Raises LimitError."""
        if produced > self.inflated:
            raise LimitError(what, f"inflates to more than {self.inflated} bytes", raising("inflated"))
        if produced > self.ratio_from and produced > self.ratio * consumed:
            why = f"inflates to more than {self.ratio} times its size ({produced} bytes from {consumed} so far)"
            raise LimitError(what, why, raising("ratio"))


def raising(name: str) -> str:
    """The hint for what went past the limit *name*."""
    return f"--limit {name}=VALUE raises this limit"


def changed(texts: Iterable[str], limits: Limits | None = None) -> Limits:
    """*limits* (None: the defaults) with those changed that *texts*, each `NAME=VALUE`, name.

    A value is a whole number above 0 (or 0, for what is left free), perhaps with k, m, g or t behind it for the powers
    of 1024. Raises UsageError.
    """
    names = {name.replace("_", "-"): name for name, kind in Limits.__annotations__.items() if kind != "bool"}
    values: dict[str, Any] = {}
    for text in texts:
        name, _, value = text.partition("=")
        what = f"--limit {text if text.isprintable() else ascii(text)}"
        if name not in names:
            raise UsageError(what, "no such limit", f"there are {', '.join(names)}")
        digits = value.lower().rstrip("kmgt")
        unit = value[len(digits) :].lower()
        if not (digits.isascii() and digits.isdigit()) or unit not in _UNITS or len(digits) > _DIGITS_MAX:
            raise UsageError(what, "its value is no whole number", "write it as in inflated=512g")
        values[names[name]] = int(digits) * _UNITS[unit]
        if not values[names[name]] and name not in _MAY_BE_NOTHING:
            raise UsageError(what, "a limit is at least 1")
    return (limits or Limits())._replace(**values)


DEFAULT_LIMITS = Limits()
"""What comes in from outside gets these."""
_MOST = 1 << 62
ACCEPTED = Limits(
    headers=_MOST,
    pax=_MOST,
    long_name=_MOST,
    xattrs=_MOST,
    sparse_runs=_MOST,
    inflated=_MOST,
    ratio=_MOST,
    memory=_MOST,
    steps=_MOST,
    reserve=0,
    inodes=0,
    extracts_large=True,
)
"""What was verified and accepted once, perhaps with other limits: only what the kernel cannot take is refused.

`index_memory` refuses nothing, and holds: a layer with more is extracted. Of documents see `oci.document.STORED`.
"""
OWN = DEFAULT_LIMITS._replace(inflated=_MOST, ratio=_MOST, steps=_MOST, reserve=0, inodes=0, extracts_large=True)
"""What arstore packs itself, from files of a container: nobody announced anything, and what is there has room."""
