"""Limits on what one archive may ask of the host, so that memory and names stay bounded whatever it contains."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
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
    xattr_value: int = 1 << 16
    """One extended attribute's value: the kernel's XATTR_SIZE_MAX."""
    xattrs: int = 1 << 20
    """Names and values of all extended attributes of one member."""
    sparse_runs: int = 1 << 16
    """Runs of data in one sparse file."""


DEFAULT_LIMITS = Limits()
"""What layers get."""
