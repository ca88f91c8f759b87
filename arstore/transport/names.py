"""Names that the images of a source bring, and the images that a reference picks.

Rules for a medium that lists several things:

* Entries with the same digest, type and platform are one image, which brings all their names.
* If several images claim a name, each of them brings it: together they are an index of that name (`selection`).
* An image that brings no name is named after the file if it is the only image without a name, the file name makes a
  valid reference, and no other image has that name.

Not in scope: the grammar of names and the meaning of annotations (`arstore.oci.reference`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from arstore.digest import Digest
from arstore.errors import InvalidReferenceError, NotFoundError
from arstore.oci import reference
from arstore.oci.descriptor import CONTAINERD_NAME, REF_NAME, Descriptor, Flawed
from arstore.oci.media_type import may_be_image
from arstore.transport.source import SourceImage
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Container, Hashable, Sequence

Claims: TypeAlias = "list[tuple[Descriptor | Flawed, Sequence[str]]]"
"""Descriptors as a medium lists them, each with the canonical names that the medium gives it."""


class Choice(NamedTuple):
    """The part after the path in `TRANSPORT:PATH…`: a name, a digest or a position; all empty means all images."""

    name: str = ""
    digest: Digest | None = None
    position: int | None = None

    @classmethod
    def parse(cls, text: str) -> Choice:
        """Parse `:NAME`, `@DIGEST`, `@POSITION`, or one of the last two with `:@`; "" selects everything.

        Raises InvalidReferenceError.
        """
        if not text:
            return cls()
        text = text.removeprefix(":")
        if not text.startswith("@"):
            if not text:
                raise InvalidReferenceError("", "has no name after the colon", "leave the colon out for all images")
            return cls(name=text)
        text = text[1:]
        if re.fullmatch("[0-9]{1,9}", text):
            return cls(position=int(text))
        return cls(digest=Digest(text))


EVERYTHING = Choice()
"""The choice of all images."""


def annotated(descriptor: Descriptor | Flawed, file_name: str) -> str:
    """The name in a descriptor's annotations, canonical; "" if none is valid."""
    notes = descriptor.annotations
    name = reference.from_annotations(notes.get(REF_NAME, ""), notes.get(CONTAINERD_NAME, ""), file_name)
    return "" if name is None else str(name)


def named(claims: Claims, file_name: str) -> tuple[SourceImage, ...]:
    """Apply the rules of this module to the list of a medium, in order; *file_name* is "" if there is none.

    Only the media type decides here whether an entry is an image. So if several entries have no name, each that may be
    an image gets the file's name as its `fallback`, for a reader that knows which of them are images.
    """
    found: dict[Hashable, Descriptor | Flawed] = {}
    brought: dict[Hashable, dict[str, None]] = {}
    for place, (entry, names) in enumerate(claims):
        key: Hashable = place if isinstance(entry, Flawed) else (entry.digest, entry.media_type, entry.platform)
        found.setdefault(key, entry)
        brought.setdefault(key, {}).update(dict.fromkeys(names))
    unnamed = [key for key, entry in found.items() if not brought[key] and _takes_file_name(entry)]
    after_file = str(reference.from_file_name(file_name) or "") if file_name else ""
    if any(after_file in names for names in brought.values()):
        after_file = ""
    if after_file and len(unnamed) == 1:
        brought[unnamed[0]][after_file] = None
    fallbacks = dict.fromkeys(unnamed, after_file)
    return tuple(SourceImage(entry, tuple(brought[key]), fallbacks.get(key, "")) for key, entry in found.items())


def chosen(images: Sequence[SourceImage], choice: Choice, what: str) -> tuple[SourceImage, ...]:
    """The images that *choice* selects: all, one by its digest or position, or all with one name.

    Images chosen by a name keep only that name. Raises NotFoundError.
    """
    if choice.digest is not None:
        found = [image for image in images if image.descriptor.digest == choice.digest]
        found.sort(key=lambda image: isinstance(image.descriptor, Flawed))
        return (_first(found, what, f"has no image {choice.digest}", images),)
    if choice.position is not None:
        found = list(images[choice.position : choice.position + 1])
        return (_first(found, what, f"has no image at position {choice.position}", images),)
    if not choice.name:
        return tuple(images)
    for wanted in spellings(choice.name):
        found = [image for image in images if wanted in image.names]
        if found:
            return tuple(image._replace(names=(wanted,)) for image in found)
    raise _missing(what, f"has no image named {choice.name}", images)


def same_name(name: str, others: Container[str]) -> bool:
    """Whether *name* is in *others* in any spelling, for example with `docker.io/library/` in front."""
    return any(spelling in others for spelling in spellings(name))


def spellings(text: str) -> list[str]:
    """*text* and the other spellings of that name, the most exact first; empty if it is not a name."""
    try:
        return reference.candidates(text)
    except InvalidReferenceError:
        return []


def _takes_file_name(entry: Descriptor | Flawed) -> bool:
    platform = entry.platform
    if isinstance(entry, Flawed):
        return False
    return may_be_image(entry.media_type) and (platform is None or not platform.is_denied)


def _first(found: Sequence[SourceImage], what: str, why: str, images: Sequence[SourceImage]) -> SourceImage:
    if not found:
        raise _missing(what, why, images)
    return found[0]


def _missing(what: str, why: str, images: Sequence[SourceImage]) -> NotFoundError:
    known = [image.names[0] if image.names else f"@{image.descriptor.digest}" for image in images]
    more = f" and {len(known) - 5} more" if len(known) > 5 else ""
    return NotFoundError(what, why, f"it has {', '.join(known[:5])}{more}" if known else "it has no images")
