"""Byte ranges: Content-Range of an answer (RFC 9110, section 14.4), and Range in answers to uploads."""

from __future__ import annotations

from arstore.pattern import pattern
from arstore.values import NamedTuple

_CONTENT_RANGE = pattern(r"(?i)bytes[ \t]+(?:([0-9]{1,18})-([0-9]{1,18})|\*)/([0-9]{1,18}|\*)")
_UPLOADED = pattern(r"(?:bytes[ =])?[ \t]*0-([0-9]{1,18})")


class ContentRange(NamedTuple):
    """Bytes `first` to `last`, inclusive, of `total`; each is None if it is not given."""

    first: int | None
    last: int | None
    total: int | None


def content_range(text: str) -> ContentRange | None:
    """Parse a Content-Range header; None if it is malformed."""
    match = _CONTENT_RANGE.fullmatch(text.strip())
    if match is None:
        return None
    first, last, total = (None if part in {None, "*"} else int(part) for part in match.groups())
    if first is not None and last is not None and (last < first or (total is not None and last >= total)):
        return None
    return ContentRange(first, last, total)


def uploaded(text: str) -> int | None:
    """Number of bytes that the Range header of an upload confirms; None if it is malformed.

    `0-0` means one byte in the specification, but some registries send it for an upload of no bytes.
    """
    match = _UPLOADED.fullmatch(text.strip())
    if match is None:
        return None
    return int(match[1]) + 1
