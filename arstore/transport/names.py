"""Which names a source's images bring, and which of its images a reference picks.

Rules, where a medium lists several things:

* Entries with one digest, type and platform are one image, which brings all their names.
* A name that several images claim is brought by each of them: together they are an index of that name (`selection`).
* An image that brings no name is named after the file when it is the only such image, the file name makes a valid
  reference, and no other image has that name.

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
"""Descriptors as a medium lists them, each with the canonical names that are claimed for it there."""


class Choice(NamedTuple):
    """What stands behind the path in `TRANSPORT:PATH…`: a name, a digest or a position; all empty means everything."""

    name: str = ""
    digest: Digest | None = None
    position: int | None = None

    @classmethod
    def parse(cls, text: str) -> Choice:
        """From `:NAME`, `@DIGEST`, `@POSITION` or either of these with `:@`; "" selects everything.

        Raises InvalidReferenceError.
        """
        if not text:
            return cls()
        text = text.removeprefix(":")
        if not text.startswith("@"):
            if not text:
                raise InvalidReferenceError("", "nothing stands behind the colon", "leave the colon out for all images")
            return cls(name=text)
        text = text[1:]
        if re.fullmatch("[0-9]{1,9}", text):
            return cls(position=int(text))
        return cls(digest=Digest(text))


EVERYTHING = Choice()
"""The choice of all images."""


def annotated(descriptor: Descriptor | Flawed, file_name: str) -> str:
    """The name in a descriptor's annotations, canonical, or "" when it has none that is valid."""
    notes = descriptor.annotations
    name = reference.from_annotations(notes.get(REF_NAME, ""), notes.get(CONTAINERD_NAME, ""), file_name)
    return "" if name is None else str(name)


def named(claims: Claims, file_name: str) -> tuple[SourceImage, ...]:
    """Apply the rules of this module to what a medium lists, in its order; *file_name* is "" where there is none.

    Whether an entry is an image is told here by its type alone. So an image without a name among several entries
    without one has the file's as its `fallback`, for a reader who knows which of them are images.
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
    """The images that *choice* means: all of them, or one by its digest or position, or all of one name.

    What is chosen by a name has that name alone. Raises NotFoundError.
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
    """Whether *name* is one of *others* in another spelling, such as one with `docker.io/library/` before it."""
    return any(spelling in others for spelling in spellings(name))


def spellings(text: str) -> list[str]:
    """*text* and the other spellings of that name, most exact first; none for what is no name."""
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
