"""The parts of bodies: Content-Range of an answer (RFC 9110, section 14.4), and Range as uploads answer it."""

from __future__ import annotations

import re

from arstore.values import NamedTuple

_CONTENT_RANGE = re.compile(r"bytes[ \t]+(?:([0-9]{1,18})-([0-9]{1,18})|\*)/([0-9]{1,18}|\*)", re.IGNORECASE)
_UPLOADED = re.compile(r"(?:bytes[ =])?[ \t]*0-([0-9]{1,18})")


class ContentRange(NamedTuple):
    """Bytes `first` to `last`, inclusive, of `total`; each None where it is not said."""

    first: int | None
    last: int | None
    total: int | None


def content_range(text: str) -> ContentRange | None:
    """Read a Content-Range header; None for one that makes no sense."""
    match = _CONTENT_RANGE.fullmatch(text.strip())
    if match is None:
        return None
    first, last, total = (None if part in {None, "*"} else int(part) for part in match.groups())
    if first is not None and last is not None and (last < first or (total is not None and last >= total)):
        return None
    return ContentRange(first, last, total)


def uploaded(text: str) -> int | None:
    """Bytes that the Range header of an upload says are there; None for one that makes no sense.

    `0-0` is what some registries say of an upload without a byte, and means one byte by the specification.
    """
    match = _UPLOADED.fullmatch(text.strip())
    if match is None:
        return None
    return int(match[1]) + 1
