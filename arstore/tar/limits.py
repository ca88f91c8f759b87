"""Limits on what one archive may ask of the host, so that memory, names and disk stay bounded whatever it contains.

The defaults are far above what real images need. `--limit NAME=VALUE` changes them; NAME is the field with `-` for `_`.
Limits apply to content from outside; content that a store has accepted is read with `ACCEPTED`. Not here: the code that
applies them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import LimitError, UsageError
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_DIGITS_MAX = 18
_MAY_BE_NOTHING = frozenset({"reserve", "inodes", "steps-per-byte"})


class Limits(NamedTuple):
    """Maximum values; exceeding one is a LimitError. Sizes are in bytes."""

    headers: int = 10_000_000
    """Headers of one archive, those of extensions included."""
    path: int = 4096
    """Bytes of a normalised path, and of a link's target: the kernel's PATH_MAX."""
    depth: int = 1024
    """Components of a path."""
    pax: int = 1 << 20
    """Bytes of all records of one extended header, and of all global records in force."""
    long_name: int = 1 << 16
    """Bytes of a GNU long name or long link."""
    xattr_value: int = 1 << 20
    """Bytes of one extended attribute's value. The kernel takes 64 KiB; a larger one is left out and counted."""
    xattrs: int = 1 << 20
    """Bytes of names and values of all extended attributes of one member."""
    sparse_runs: int = 1 << 16
    """Runs of data in one sparse file."""
    inflated: int = 1 << 40
    """Bytes of a layer, or of a whole archive, after decompression."""
    ratio: int = 200
    """Decompressed bytes per compressed byte; checked above `ratio_from`."""
    ratio_from: int = 1 << 30
    """Decompressed bytes of a layer or an archive that are accepted whatever the ratio."""

    index_memory: int = 160 << 20
    """Bytes of memory for the entries of layers that are indexed at the same time; a larger layer is refused."""
    memory: int = 96 << 20
    """Bytes of memory for directories, links and attributes of layers that are extracted at the same time."""
    steps: int = 50_000_000
    """Work that a source may ask for whatever its size, in steps (`tar.steps`); also of one outer archive."""
    steps_per_byte: int = 8
    """Additional steps that a source may ask for, per byte of its layers that has arrived."""
    inodes: int | None = None
    """Inodes that stay free on the store's file system; 0 for none, None for a twentieth (`disk.free_space`)."""

    members: int = 100_000
    """Members of an outer archive, all kept in a table: an archive of images needs a handful per layer."""
    member_names: int = 16 << 20
    """Bytes of the names and links in that table."""
    trailing: int = 64 << 20
    """Bytes after the end mark of an outer archive in a stream: tapes are padded, and a device is endless."""
    documents: int = 128 << 20
    """Bytes of manifests, configs and indexes of one source, held in memory until their images are published."""
    parsed: int = 8 << 20
    """Bytes of a source's documents that are parsed, a value counting as 16; plus 8 for each byte of the source."""
    visits: int = 100_000
    """Entries of its lists that are visited, repeats included; plus one for each 16 bytes of the source."""
    references: int = 50_000
    """Layers that all images of one source name; plus one for each 200 bytes of the source."""
    images: int = 20_000
    """Images of one source, and images wanted from one of its indexes."""
    document: int = 4 << 20
    """Bytes of a manifest, a config, an index, or a docker-archive's `manifest.json`."""
    listing: int = 16 << 20
    """Bytes of the `index.json` of a layout: enough for a backup of 20,000 images with two long names each."""
    json_depth: int = 64
    """Levels of lists and objects in a document."""
    layers: int = 10_000
    """Layers of a manifest; diff IDs of a config; a quarter of the entries of its history."""
    manifests: int = 50_000
    """Entries of an index, also of `index.json`."""
    index_depth: int = 4
    """Levels of nested indexes that are followed."""
    extracts_large: bool = False
    """Whether a layer that exceeds `index_memory` is extracted instead of refused."""
    strict_xattrs: bool = False
    """Whether an extended attribute that a tree cannot have is an error, instead of left out and counted."""
    reserve: int | None = None
    """Bytes that stay free on the store's file system; 0 for none, None: depends on its size (`disk.free_space`)."""

    def check_inflated(self, produced: int, consumed: int, what: str) -> None:
        """Refuse a decompression bomb while it inflates: *produced* bytes from *consumed*. Raises LimitError."""
        if produced > self.inflated:
            raise LimitError(what, f"inflates to more than {self.inflated} bytes", raising("inflated"))
        if produced > self.ratio_from and produced > self.ratio * consumed:
            why = f"inflates to more than {self.ratio} times its size ({produced} bytes from {consumed} so far)"
            raise LimitError(what, why, raising("ratio"))


def raising(name: str) -> str:
    """Return the hint for exceeding the limit *name*."""
    return f"--limit {name}=VALUE raises this limit"


def changed(texts: Iterable[str], limits: Limits | None = None) -> Limits:
    """Return *limits* (None: the defaults) with the changes of *texts*, each `NAME=VALUE`.

    A value is a whole number above 0 (0 is permitted for reserves and steps-per-byte), optionally followed by k, m, g
    or t for powers of 1024. Raises UsageError.
    """
    values: dict[str, Any] = {}
    for text in texts:
        name, _, value = text.partition("=")
        what = f"--limit {text if text.isprintable() else ascii(text)}"
        names = limit_names()
        if name not in names:
            raise UsageError(what, "no such limit", f"limits are {', '.join(names)}")
        values[names[name]] = parse_limit(name, value, what)
    return (limits or Limits())._replace(**values)


def limit_names() -> dict[str, str]:
    """Return the fields that `--limit` changes, by the names that users type."""
    return {name.replace("_", "-"): name for name, kind in Limits.__annotations__.items() if kind != "bool"}


def parse_limit(name: str, value: str, what: str) -> int:
    """Return the number that *value* means for the limit *name*; see `changed`. Raises UsageError about *what*."""
    found = parse_bytes(value, what)
    if not found and name not in _MAY_BE_NOTHING:
        raise UsageError(what, "a limit must be at least 1")
    return found


def parse_bytes(value: str, what: str) -> int:
    """Return the number that *value* means, with the units of `changed`. Raises UsageError about *what*."""
    digits = value.lower().rstrip("kmgt")
    unit = value[len(digits) :].lower()
    if not (digits.isascii() and digits.isdigit()) or unit not in _UNITS or len(digits) > _DIGITS_MAX:
        raise UsageError(what, "its value is not a whole number", "write it as in inflated=512g")
    return int(digits) * _UNITS[unit]


DEFAULT_LIMITS = Limits()
"""Limits for content from outside."""
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
"""For content that was accepted before, perhaps with other limits: refuse only what the kernel cannot take.

A layer that exceeds `index_memory` is extracted, not refused. For documents see `oci.document.STORED`.
"""
OWN = DEFAULT_LIMITS._replace(inflated=_MOST, ratio=_MOST, steps=_MOST, reserve=0, inodes=0, extracts_large=True)
"""For archives that arstore makes from a container: their size is not announced, and the files fit on the disk."""
