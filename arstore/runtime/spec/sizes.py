"""Sizes with units, and refusals of words from the command line."""

from __future__ import annotations

from arstore.errors import UsageError
from arstore.pattern import pattern

LARGEST = 2**63 - 1
"""The largest size in bytes, and the largest limit."""

_SIZE = pattern(r"(?i)([0-9]{1,19}(?:\.[0-9]{1,6})?)\s*([bkmgtp]?)(?:i?b)?")
_UNITS = {"": 0, "b": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}


def parse_size(text: str) -> int:
    """Return the bytes for `512m`, `1.5G`, `64MiB` or a plain number; units are powers of 1024, as in docker.

    Raises UsageError.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise refused(text, "not a size", "write for example 512m or 2g")
    number, unit = match[1], _UNITS[match[2].lower()]
    whole, _, fraction = number.partition(".")
    size = (int(whole) << unit) + ((int(fraction) << unit) // 10 ** len(fraction) if fraction else 0)
    if size > LARGEST:
        raise refused(text, "the size is out of range")
    return size


def refused(text: str, why: str, hint: str = "") -> UsageError:
    """Return the error about *text*, a word of the command line; *why* and *hint* are those of the error."""
    return UsageError(shown(text), why, hint)


def shown(text: str) -> str:
    """Return *text* as one printable line."""
    from arstore.oci.document import shown as printable

    return printable(text)
